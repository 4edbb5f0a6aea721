"""Random pipelines, run for real, give what a few lines of Python say they should."""

import random
from pathlib import Path

import pytest
import yaml

GOLDEN = Path(__file__).parent.parent / "golden" / "runner"
SPEC = yaml.safe_load((GOLDEN / "loops_in_loops.yaml").read_text())


def draw(chance):
    """Draw tasks that multiply numbers under conditions, and what each gives: None if it is skipped."""
    tasks, values = {}, {}
    for number in range(chance.randint(3, 9)):
        inputs, given, after = {}, [], set()
        for name in "ab":
            if values and chance.random() < 0.7:
                producer = chance.choice(list(values))
                inputs[name] = {"taskOutputParameter": {"producerTask": producer, "outputParameterKey": "Output"}}
                given.append(values[producer])
                after.add(producer)
            else:
                given.append(chance.randint(-3, 5))
                inputs[name] = {"runtimeValue": {"constant": float(given[-1])}}
        task = {"componentRef": {"name": "comp-product"}, "inputs": {"parameters": inputs}, "dependentTasks": [*after]}
        holds = True
        if chance.random() < 0.3:
            least = chance.randint(-4, 4)
            task["triggerPolicy"] = {"condition": f"int(inputs.parameter_values['a']) > {least}"}
            holds = given[0] is not None and given[0] > least
        task["cachingOptions"] = {"enableCache": True}
        tasks[f"t{number}"] = task
        values[f"t{number}"] = given[0] * given[1] if holds and None not in given else None
    return tasks, values


@pytest.mark.parametrize("seed", range(6))
def test_a_random_pipeline_gives_what_it_should(run, tmp_path, seed):
    tasks, values = draw(random.Random(seed))
    components = {"comp-product": SPEC["components"]["comp-product"]}
    spec = {**SPEC, "components": components, "root": {"dag": {"tasks": tasks}}}
    (tmp_path / "drawn.yaml").write_text(yaml.safe_dump(spec))

    for _ in range(2):  # the second time from the cache
        result = run(tmp_path / "drawn.yaml")

        assert result.status == "SUCCEEDED"
        assert {name: task.outputs.get("Output") for name, task in result.tasks.items()} == values
