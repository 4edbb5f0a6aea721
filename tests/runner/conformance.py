# ruff: noqa: E712
"""One pipeline a construct, with what the backend's documentation or code says comes of it.

It imports kfp alone, so that any version of kfp can compile it: see `golden.py`.
"""

from typing import Any, Dict, List, NamedTuple, Optional  # noqa: UP035 (kfp reads these annotations)

from kfp import dsl
from kfp.dsl import (
    HTML,
    Artifact,
    ClassificationMetrics,
    Dataset,
    Input,
    InputPath,
    Markdown,
    Metrics,
    Model,
    Output,
    OutputPath,
    PipelineTaskFinalStatus,
)

SMALL = {"base_image": "python:3.11", "install_kfp_package": False}
component = dsl.component(**SMALL)
GAPS = " (one of the gaps of kubeflow/pipelines issue 11793)"
FLOATS = "ints become floats, so a step is given, or gives, the wrong type (kubeflow/pipelines issue 11004)"
CASES: Dict[str, Dict[str, Any]] = {}  # noqa: UP006


def case(outputs=None, *, arguments=None, status="SUCCEEDED", states=None, local=None):
    """Add a pipeline to the cases.

    Args:
        outputs: What it gives.
        arguments: What it is given.
        status: How it ends.
        states: How some of its tasks end.
        local: Why kfp.local 2.17 is wrong on it, where it is.
    """

    def add(function):
        CASES[function.__name__] = {
            "pipeline": dsl.pipeline(function),
            "outputs": outputs or {},
            "arguments": arguments or {},
            "status": status,
            "states": states or {},
            "local": local,
        }
        return function

    return add


@component
def kind(value: int) -> str:
    return f"{type(value).__name__} {value}"


@component
def kind_of_float(value: float) -> str:
    return f"{type(value).__name__} {value}"


@component
def kind_of_bool(value: bool) -> str:
    return f"{type(value).__name__} {value}"


@component
def kinds_of_list(value: list) -> str:
    return " ".join(type(each).__name__ for each in value)


@component
def kinds_of_dict(value: dict) -> str:
    return " ".join(f"{key}:{type(each).__name__}" for key, each in sorted(value.items()))


@component
def int_of(value: int) -> int:
    return value


@component
def float_of(value: float) -> float:
    return value


@component
def text_of(value: str) -> str:
    return value


@component
def bool_of(value: bool) -> bool:
    return value


@component
def list_of(count: int) -> List[int]:  # noqa: UP006
    return list(range(count))


@component
def dict_of(number: int) -> dict:
    return {"number": number}


@component
def both_of(a: str, b: str) -> str:
    return a + b


@component
def total(values: List[int]) -> int:  # noqa: UP006
    return sum(values)


@component
def joined(values: List[str]) -> str:  # noqa: UP006
    return "+".join(values)


@component
def give_or_default(value: Optional[str] = None, number: int = 7) -> str:  # noqa: UP045
    return f"{value} {number}"


@component
def fails(text: str = "broken") -> str:
    raise RuntimeError(text)


@component
def data(text: str, out: Output[Dataset]):
    with open(out.path, "w") as file:
        file.write(text)
    out.metadata["size"] = len(text)


@component
def content(found: Input[Dataset]) -> str:
    with open(found.path) as file:
        return file.read()


@component
def contents(found: Input[List[Dataset]]) -> str:  # noqa: UP006
    return "+".join(open(each.path).read() for each in found)


@component
def note_status(status: PipelineTaskFinalStatus, text: str = "") -> str:
    return f"{status.state} {status.pipeline_task_name}"


@component
def give_default(text: str = "default") -> str:
    return f"anyway {text}"


@component
def from_environment() -> str:
    import os

    return os.environ["FLYWHEEL_TEST_VARIABLE"]


@component
def sizes(found: Input[Artifact]) -> str:
    return f"{found.uri} {found.metadata.get('part')}"


@case({"Output": "int 3"}, arguments={"n": 3})
def an_int_stays_an_int(n: int) -> str:
    return kind(value=int_of(value=n).output).output


@case({"Output": "float 3.0"}, arguments={"x": 3.0})
def a_float_stays_a_float(x: float) -> str:
    return kind_of_float(value=float_of(value=x).output).output


@case({"Output": "bool True"}, arguments={"flag": True})
def a_bool_stays_a_bool(flag: bool) -> str:
    return kind_of_bool(value=bool_of(value=flag).output).output


@case(
    {"Output": "int float str bool NoneType dict"},
    arguments={"values": [1, 1.5, "a", True, None, {}]},
    local="a null in a list is refused" + GAPS,
)
def a_list_keeps_the_types_of_its_items(values: list) -> str:
    return kinds_of_list(value=values).output


@case({"Output": "a:int b:float c:list"}, local="constants in structs come as floats (kubeflow/pipelines issue 11004)")
def a_dict_constant_keeps_the_types_of_its_values() -> str:
    return kinds_of_dict(value={"a": 1, "b": 1.5, "c": [1]}).output


@case({"Output": "None 7"})
def an_optional_input_that_is_not_given_is_left_to_the_component() -> str:
    return give_or_default().output


@case({"Output": "None 7"}, local="an optional argument that is left out is an unknown value type" + GAPS)
def an_optional_argument_of_the_pipeline_may_be_left_out(value: Optional[str] = None) -> str:  # noqa: UP045
    return give_or_default(value=value).output


@case(
    {"Output": "a 5 and 2.5!"},
    arguments={"n": 5},
    local="an int in text becomes a float (kubeflow/pipelines issue 11004)",
)
def text_with_values_in_it(n: int) -> str:
    return text_of(value=f"{text_of(value='a').output} {n} and {float_of(value=2.5).output}!").output


@case({"Output": '{"number":3}'}, local="the int in it becomes a float (kubeflow/pipelines issue 11004)")
def a_dict_in_text_is_json() -> str:
    return text_of(value=f"{dict_of(number=3).output}").output


@case({"Output": "task=text-of"})
def a_placeholder_inside_text() -> str:
    return text_of(value=f"task={dsl.PIPELINE_TASK_NAME_PLACEHOLDER}").output


@component
def read_path(path: InputPath(), text_path: OutputPath(str), number_path: OutputPath(int)):
    with open(path) as file, open(text_path, "w") as out:
        out.write(file.read())
    with open(number_path, "w") as out:
        out.write("4")


@case({"Output": "int 4"})
def outputs_written_to_paths() -> str:
    read = read_path(path=data(text="x").output)
    return kind(value=read.outputs["number_path"]).output


class Two(NamedTuple):
    first: int
    second: str


@component
def two() -> NamedTuple("Outputs", first=int, second=str):
    from collections import namedtuple

    return namedtuple("Outputs", ["first", "second"])(1, "b")


@case({"first": 1, "second": "b"})
def named_outputs() -> Two:
    both = two()
    return Two(first=both.outputs["first"], second=both.outputs["second"])


@component
def judge(
    metrics: Output[Metrics], classes: Output[ClassificationMetrics], page: Output[HTML], words: Output[Markdown]
) -> str:
    metrics.log_metric("auc", 0.5)
    classes.log_confusion_matrix(["a", "b"], [[1, 0], [0, 1]])
    for each, text in ((page, "<p>"), (words, "# a")):
        with open(each.path, "w") as file:
            file.write(text)
    return "judged"


@component
def metric(metrics: Input[Metrics]) -> float:
    return metrics.metadata["auc"]


@case({"Output": 0.5})
def metrics_reach_the_next_step() -> float:
    return metric(metrics=judge().outputs["metrics"]).output


@component
def made_itself() -> Model:
    model = Model(uri=dsl.get_uri("own"), metadata={"kind": "own"})
    with open(model.path, "w") as file:
        file.write("weights")
    return model


@component
def look(model: Input[Model]) -> str:
    return open(model.path).read() + model.metadata["kind"]


@case({"Output": "weightsown"})
def an_artifact_that_the_step_makes_itself() -> str:
    return look(model=made_itself().output).output


@component
def maybe(found: Optional[Input[Dataset]] = None) -> str:  # noqa: UP045
    return "none" if found is None else "some"


@case({"Output": "none"})
def an_optional_artifact_that_is_not_given() -> str:
    return maybe().output


@case({"Output": "low"}, arguments={"n": 3}, states={"condition-branches-1/condition-2": "SKIPPED"})
def one_of_two_branches(n: int) -> str:
    with dsl.If(n > 5):
        high = text_of(value="high")
    with dsl.Else():
        low = text_of(value="low")
    return dsl.OneOf(high.output, low.output)


@case({"Output": "int 6"})
def an_int_through_a_condition() -> str:
    n = int_of(value=5)
    with dsl.If(n.output > 4):
        a = int_of(value=6)
    with dsl.Else():
        b = int_of(value=7)
    return kind(value=dsl.OneOf(a.output, b.output)).output


@case({"Output": "b"}, local="OneOf of artifacts fails (kubeflow/pipelines issue 13436)")
def one_of_artifacts() -> str:
    with dsl.If(text_of(value="x").output == "y"):
        a = data(text="a")
    with dsl.Else():
        b = data(text="b")
    return content(found=dsl.OneOf(a.outputs["out"], b.outputs["out"])).output


@case({"Output": "deep"}, arguments={"a": True, "b": 2})
def conditions_in_conditions(a: bool, b: int) -> str:
    with dsl.If(a == True):
        with dsl.If(b < 2):
            one = text_of(value="shallow")
        with dsl.Elif(b == 2):
            two_ = text_of(value="deep")
        with dsl.Else():
            three = text_of(value="else")
        chosen = dsl.OneOf(one.output, two_.output, three.output)
        inner = text_of(value=chosen)
    with dsl.Else():
        outer = text_of(value="outer")
    return dsl.OneOf(inner.output, outer.output)


@case({"Output": 6}, local=FLOATS)
def a_loop_over_constants_collected() -> int:
    with dsl.ParallelFor([1, 2, 3]) as item:
        each = int_of(value=item)
    return total(values=dsl.Collected(each.output)).output


@case({"Output": 3}, local=FLOATS)
def a_loop_over_an_output() -> int:
    with dsl.ParallelFor(list_of(count=3).output, parallelism=2) as item:
        each = int_of(value=item)
    return total(values=dsl.Collected(each.output)).output


@case(
    {"Output": 30},
    arguments={"items": [10, 20]},
    local=FLOATS,
)
def a_loop_over_an_argument(items: List[int]) -> int:  # noqa: UP006
    with dsl.ParallelFor(items) as item:
        each = int_of(value=item)
    return total(values=dsl.Collected(each.output)).output


@case({"Output": "ax+by"})
def a_loop_over_dicts() -> str:
    with dsl.ParallelFor([{"word": "a", "other": "x"}, {"word": "b", "other": "y"}]) as item:
        each = both_of(a=item.word, b=item.other)
    return joined(values=dsl.Collected(each.output)).output


@case({"Output": 0}, arguments={"items": []}, local="a loop over nothing has no outputs" + GAPS)
def a_loop_over_nothing(items: List[int]) -> int:  # noqa: UP006
    with dsl.ParallelFor(items) as item:
        each = int_of(value=item)
    return total(values=dsl.Collected(each.output)).output


@component
def nested_total(values: List[List[int]]) -> int:  # noqa: UP006
    return sum(sum(inner) for inner in values)


@component
def product(a: int, b: int) -> int:
    return a * b


@case({"Output": 21}, local=FLOATS)
def loops_in_loops() -> int:
    with dsl.ParallelFor([1, 2]) as a, dsl.ParallelFor([3, 4]) as b:
        each = product(a=a, b=b)
    return nested_total(values=dsl.Collected(each.output)).output


@case({"Output": 5}, local="a condition inside a loop fails it" + GAPS)
def a_condition_in_a_loop() -> int:
    with dsl.ParallelFor([1, 2, 3]) as item:
        with dsl.If(item > 1):
            each = int_of(value=item)
    return total(values=dsl.Collected(each.output)).output


@case({"Output": "x+y"})
def artifacts_collected_from_a_loop() -> str:
    with dsl.ParallelFor(["x", "y"]) as item:
        each = data(text=item)
    return contents(found=dsl.Collected(each.outputs["out"])).output


@dsl.pipeline
def many_made() -> List[Dataset]:  # noqa: UP006
    with dsl.ParallelFor(["x", "y"]) as item:
        made = data(text=item)
    return dsl.Collected(made.outputs["out"])


@case({"Output": "x!+y!"})
def a_loop_over_artifacts() -> str:
    with dsl.ParallelFor(many_made().output) as found:
        each = text_of(value=f"{content(found=found).output}!")
    return joined(values=dsl.Collected(each.output)).output


@case({}, status="FAILED", states={"exit-handler-1": "FAILED", "note-status": "SUCCEEDED"})
def an_exit_task_runs_after_a_failure():
    with dsl.ExitHandler(note_status(text="bye")):
        fails()


@case({}, status="FAILED", states={"text-of": "SUCCEEDED", "text-of-2": "SKIPPED"})
def a_task_that_ignores_the_failure_before_it():
    failed = fails()
    text_of(value="anyway").after(failed).ignore_upstream_failure()
    text_of(value="not").after(failed)


@case({"Output": "anyway default"}, status="FAILED")
def a_task_that_ignores_a_failure_gets_the_default_of_what_was_to_come() -> str:
    return give_default(text=fails().output).ignore_upstream_failure().output


@dsl.pipeline
def inner_pipeline(n: int, text: Optional[str] = None, found: Optional[Input[Dataset]] = None) -> str:  # noqa: UP045
    maybe(found=found)
    return give_or_default(value=text, number=n).output


@case({"Output": "None 4"}, local="an optional input that is left out is an unknown value type" + GAPS)
def a_pipeline_in_a_pipeline_with_optional_inputs() -> str:
    return inner_pipeline(n=int_of(value=4).output).output


@dsl.pipeline
def make_and_read(text: str) -> NamedTuple("Both", out=Dataset, read=str):
    class Both(NamedTuple):
        out: Dataset
        read: str

    made = data(text=text)
    return Both(out=made.outputs["out"], read=content(found=made.outputs["out"]).output)


@case({"Output": "abab"})
def pipelines_give_artifacts_and_parameters() -> str:
    both = make_and_read(text="ab")
    return text_of(value=f"{content(found=both.outputs['out']).output}{both.outputs['read']}").output


@case({"Output": "value"})
def a_variable_of_the_environment() -> str:
    task = from_environment()
    task.set_env_variable("FLYWHEEL_TEST_VARIABLE", "value")
    return task.output


@case({"Output": "gs://bucket/thing 2"})
def an_importer_with_metadata() -> str:
    part = int_of(value=2)
    found = dsl.importer(
        artifact_uri="gs://bucket/thing", artifact_class=Artifact, reimport=True, metadata={"part": part.output}
    )
    return sizes(found=found.output).output


@case({"Output": "c"})
def after_orders_tasks_that_share_nothing() -> str:
    a = text_of(value="a")
    b = text_of(value="b").after(a)
    return text_of(value="c").after(a, b).output
