# ruff: noqa: T201
"""Small components that the tests of the runner put together."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output, PipelineTaskFinalStatus

SMALL = {"base_image": "python:3.11", "install_kfp_package": False}


@dsl.component(**SMALL)
def add(x: int, y: int = 1) -> int:
    print(f"adding {x!r} and {y!r}")
    return x + y


@dsl.component(**SMALL)
def say(text: str) -> str:
    print(text)
    return text


@dsl.component(**SMALL)
def fail(message: str = "no luck") -> str:
    print("about to fail")
    raise ValueError(message)


@dsl.component(**SMALL)
def write(text: str, out: Output[Dataset]):
    with open(out.path, "w") as file:
        file.write(text)
    out.metadata["length"] = len(text)


@dsl.component(**SMALL)
def read(data: Input[Dataset]) -> str:
    with open(data.path) as file:
        return f"{file.read()} {data.metadata.get('length')}"


@dsl.component(**SMALL)
def nap(seconds: float, before: int = 0) -> float:
    import time

    started = time.time()
    time.sleep(seconds)
    return started


@dsl.component(**SMALL)
def report(status: PipelineTaskFinalStatus, path: str):
    with open(path, "a") as file:
        file.write(f"{status.state} {status.pipeline_task_name} {status.error_message}\n")


@dsl.component(**SMALL)
def once(path: str, fails: bool) -> int:
    """Take a second, and fail the first time if asked to."""
    import time

    with open(path, "a") as file:
        file.write("began\n")
    with open(path) as file:
        times = len(file.readlines())
    time.sleep(1.0)
    if fails and times == 1:
        raise ValueError("no luck")
    return times
