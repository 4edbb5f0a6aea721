"""Where the transform's pipelines run, and what another machine needs for them."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from flywheel.transform.beam import Job


@contextmanager
def job(options: Sequence[str], folder: Path, code: Path | None) -> Iterator[Job]:
    """Give what runs pipelines, and clear away what they left when the block ends.

    Args:
        options: Beam's pipeline options. `--temp_location` is where workers on other machines read the project's code
            and write; without it they must see this machine's files.
        folder: A folder of this machine, for when there is no other.
        code: The project's archive, if a feature has a function.
    """
    shared = PipelineOptions(flags=list(options)).view_as(GoogleCloudOptions).temp_location
    if not shared:
        yield Job(tuple(options), str(folder), str(code or ""))
        return
    scratch = FileSystems.join(shared, f"flywheel-transform-{uuid.uuid4().hex}")
    FileSystems.mkdirs(scratch)
    try:
        made = Job(tuple(options), scratch, "", remote=True)
        yield replace(made, code=made.put(code)) if code is not None else made
    finally:
        FileSystems.delete([scratch])


def names_in(folder: str) -> list[str]:
    """Return the names of the files in a folder that workers wrote to."""
    found = FileSystems.match([FileSystems.join(folder, "*")])[0].metadata_list
    return sorted(each.path.rsplit("/", 1)[-1] for each in found)


def fetch(source: str, names: Sequence[str], target: Path) -> None:
    """Copy the files `names` below `source`, which workers wrote, to the same places below `target`."""
    for name in names:
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileSystems.open(FileSystems.join(source, *name.split("/"))) as given, file.open("wb") as copy:
            shutil.copyfileobj(given, copy, 2**24)
