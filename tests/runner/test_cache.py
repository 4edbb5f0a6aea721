"""When a step's earlier result is taken, and when it is not."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from kfp import dsl

from flywheel.runner import Cache, list_runs, remove_runs
from flywheel.runner.events import TaskWaits

from .components import SMALL, add, fail, once, read, report, say, write


@dsl.pipeline
def two(text: str) -> str:
    return read(data=write(text=text).output).output


def states(result):
    return {name: task.state for name, task in result.tasks.items()}


def test_equal_steps_of_a_later_run_are_taken_from_the_cache(run):
    first, second = run(two, {"text": "a"}), run(two, {"text": "a"})

    assert states(second) == {"write": "CACHED", "read": "CACHED"}
    assert second.status == "SUCCEEDED"
    assert second.outputs == first.outputs == {"Output": "a 1"}
    assert second.tasks["write"].artifacts["out"].path.read_text() == "a"
    assert second.tasks["write"].artifacts["out"].path.is_relative_to(second.folder)


def test_another_parameter_another_result(run):
    run(two, {"text": "a"})

    assert states(run(two, {"text": "b"})) == {"write": "SUCCEEDED", "read": "SUCCEEDED"}


def test_the_content_of_an_input_counts_not_its_place(run, tmp_path):
    @dsl.pipeline
    def imported(path: str) -> str:
        found = dsl.importer(artifact_uri=path, artifact_class=dsl.Dataset)
        return read(data=found.output).output

    for name, text in [("one", "same"), ("two", "same"), ("three", "other")]:
        (tmp_path / name).write_text(text)

    results = [run(imported, {"path": str(tmp_path / name)}) for name in ("one", "two", "three")]
    (tmp_path / "one").write_text("edited")
    results.append(run(imported, {"path": str(tmp_path / "one")}))

    assert [result.tasks["read"].state for result in results] == ["SUCCEEDED", "CACHED", "SUCCEEDED", "SUCCEEDED"]
    assert results[3].outputs == {"Output": "edited None"}


def test_caching_can_be_switched_off_for_a_task_and_for_a_run(run):
    @dsl.pipeline
    def uncached():
        say(text="a").set_caching_options(False)

    for _ in range(2):
        assert run(uncached).tasks["say"].state == "SUCCEEDED"
    run(two, {"text": "a"})
    assert run(two, {"text": "a"}, cache=False).tasks["write"].state == "SUCCEEDED"


def test_failed_steps_and_exit_tasks_are_never_taken_from_the_cache(run, tmp_path):
    @dsl.pipeline
    def guarded(path: str):
        with dsl.ExitHandler(report(path=path)):
            fail()

    for _ in range(2):
        assert states(run(guarded, {"path": str(tmp_path / "told")}))["exit-handler-1/fail"] == "FAILED"
    assert len((tmp_path / "told").read_text().splitlines()) == 2


def test_a_result_that_was_changed_since_is_made_anew(run):
    first = run(two, {"text": "a"})
    path = first.tasks["write"].artifacts["out"].path
    path.write_text("tampered")

    second = run(two, {"text": "a"})

    assert states(second)["write"] == "SUCCEEDED"
    assert second.outputs == {"Output": "a 1"}


def test_edited_code_of_the_user_makes_a_result_anew(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = tmp_path / "module_of_the_user.py"
    module.write_text("def number():\n    return 1\n")

    @dsl.component(**SMALL)
    def use() -> int:
        from module_of_the_user import number

        return number()

    @dsl.pipeline
    def using() -> int:
        return use().output

    numbers = [run(using).outputs["Output"] for _ in range(2)]
    module.write_text("def number():\n    return 22\n")
    numbers.append(run(using).outputs["Output"])

    assert numbers == [1, 1, 22]


def test_an_edit_anywhere_in_a_package_of_the_user_counts_also_where_a_module_is_loaded_by_name(
    run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "package_of_the_user"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import importlib\n\n"
        "def load(name):\n    return importlib.import_module(f'package_of_the_user.{name}').NUMBER\n"
    )
    (package / "by_name.py").write_text("NUMBER = 1\n")

    @dsl.component(**SMALL)
    def use() -> int:
        import package_of_the_user

        return package_of_the_user.load("by_name")

    @dsl.pipeline
    def using() -> int:
        return use().output

    numbers = [run(using).outputs["Output"]]
    (package / "by_name.py").write_text("NUMBER = 22\n")
    numbers.append(run(using).outputs["Output"])

    assert numbers == [1, 22]


def test_what_was_used_least_recently_goes_first_when_the_cache_is_full(run, tmp_path):
    cache = Cache(tmp_path / "root")
    for text in ("a" * 1000, "b" * 1000, "c" * 1000):
        run(two, {"text": text})
        time.sleep(0.02)
    run(two, {"text": "a" * 1000})

    gone = cache.prune(2500)

    assert {entry.task for entry in gone} >= {"write"}
    assert states(run(two, {"text": "a" * 1000}))["write"] == "CACHED"
    assert states(run(two, {"text": "b" * 1000}))["write"] == "SUCCEEDED"


def test_a_run_reads_the_entries_of_a_small_cache_no_more_than_once_an_hour(run, tmp_path, monkeypatch):
    run(two, {"text": "a"})
    swept = []
    monkeypatch.setattr(Cache, "_read", lambda cache: swept.append(cache) or iter(()))

    run(two, {"text": "b"})
    assert not swept

    (tmp_path / "root" / "cache" / "size").write_text(f"[0, {time.time() - 3700}]")
    run(two, {"text": "c"})
    assert swept


def test_a_run_that_makes_the_cache_too_large_prunes_it(run, tmp_path):
    run(two, {"text": "a" * 1000})
    time.sleep(0.02)

    run(two, {"text": "b" * 1000}, cache_limit=1500)

    assert sum(entry.size for entry in Cache(tmp_path / "root").find()) <= 1500
    assert states(run(two, {"text": "b" * 1000}))["write"] == "CACHED"
    assert states(run(two, {"text": "a" * 1000}))["write"] == "SUCCEEDED"


def test_entries_can_be_listed_and_removed(run, tmp_path):
    run(two, {"text": "a"})
    cache = Cache(tmp_path / "root")

    entries = {entry.task: entry for entry in cache.find()}

    assert set(entries) == {"write", "read"}
    assert entries["write"].size == 1
    assert cache.remove(entries["write"].key)
    assert not cache.remove(entries["write"].key)
    assert states(run(two, {"text": "a"})) == {"write": "SUCCEEDED", "read": "CACHED"}


def test_old_runs_can_go_and_their_results_stay_in_the_cache(run, tmp_path):
    runs = [run(two, {"text": text}) for text in "abc"]

    gone = remove_runs(tmp_path / "root", keep=1)

    assert gone == [result.id for result in runs[:2]]
    assert [folder.id for folder in list_runs(tmp_path / "root")] == [runs[2].id]
    again = run(two, {"text": "a"})
    assert states(again) == {"write": "CACHED", "read": "CACHED"}
    assert again.tasks["write"].artifacts["out"].path.read_text() == "a"


def test_a_damaged_entry_is_no_entry(run, tmp_path):
    run(two, {"text": "a"})
    for path in (tmp_path / "root" / "cache" / "entries").glob("*/entry.json"):
        path.write_text("{")

    assert states(run(two, {"text": "a"})) == {"write": "SUCCEEDED", "read": "SUCCEEDED"}


def test_files_that_a_step_makes_beside_its_outputs_are_kept_too(run):
    @dsl.component(**SMALL)
    def elsewhere() -> dsl.Dataset:
        uri = dsl.get_uri("more/data")
        import os

        os.makedirs(os.path.dirname(uri), exist_ok=True)
        with open(uri, "w") as file:
            file.write("beside")
        return dsl.Dataset(uri=uri)

    @dsl.pipeline
    def made() -> str:
        return read(data=elsewhere().output).output

    first, second = run(made), run(made)

    assert states(second) == {"elsewhere": "CACHED", "read": "CACHED"}
    assert second.tasks["elsewhere"].artifacts["Output"].path.read_text() == "beside"
    assert second.outputs == first.outputs


@pytest.mark.parametrize("size", [0, 1])
def test_steps_with_equal_code_and_inputs_share_a_result_across_pipelines(run, size):
    @dsl.pipeline
    def one() -> int:
        return add(x=size).output

    @dsl.pipeline
    def other() -> int:
        return add(x=size, y=1).output

    run(one)

    assert run(other).tasks["add"].state == "CACHED"


def test_a_lookup_of_a_large_input_reads_no_more_than_its_size_and_time(run, tmp_path):
    large = tmp_path / "large"
    with large.open("wb") as file:
        os.truncate(file.fileno(), 200 * 2**20)
    cache = Cache(tmp_path / "root")
    digest = cache.digests.get(large)

    started = time.perf_counter()
    again = Cache(tmp_path / "root").digests.get(large)

    assert again == digest
    assert time.perf_counter() - started < 0.02


@pytest.mark.parametrize(("fails", "left"), [(False, 1), (True, 2)])
def test_a_step_that_two_runs_need_at_once_is_run_by_one_of_them(run, tmp_path, fails, left):
    """The other waits for the result; if there comes none, it does the work itself."""

    @dsl.pipeline
    def slow(path: str, fails: bool):
        once(path=path, fails=fails)

    told, arguments = [], {"path": str(tmp_path / "began"), "fails": fails}
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(run, slow, arguments, events=told.append) for _ in range(2)]
        found = sorted(each.result().tasks["once"].state for each in both)

    assert found == (["FAILED", "SUCCEEDED"] if fails else ["CACHED", "SUCCEEDED"])
    assert len((tmp_path / "began").read_text().splitlines()) == left
    assert [event.task for event in told if isinstance(event, TaskWaits)] == ["once"]
    assert not list((tmp_path / "root" / "cache" / "making").iterdir())
