"""Images of a team's own: those of the steps, and what requirements.txt of a project asks for on top."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from flywheel import images
from flywheel.errors import ConfigError, FlywheelError, MissingExtra

_ENGINES = ("docker", "podman")
# What the steps need stays as it is: a library that wants another version of it is refused, not let in.
_DOCKERFILE = """\
ARG BASE
FROM ${BASE}
USER 0
COPY requirements.txt /locks/requirements.txt
RUN pip freeze --exclude ai-flywheel >/locks/constraints.txt \\
    && pip install --no-cache-dir -r /locks/requirements.txt -c /locks/constraints.txt \\
    && pip check
USER 10001
"""


def build(name: str, requirements: Path, base: str, options: Sequence[str] = ()) -> str:
    """Build an image with the libraries of a file, and return its name; the same file and base give the same name.

    Args:
        name: Of the flywheel.
        requirements: File as pip reads it.
        base: Image to begin with.
        options: For `docker build`, as `--network=host`.

    Raises:
        ConfigError: There is no such file, or it asks for nothing.
        MissingExtra: Neither Docker nor Podman is here.
        FlywheelError: The image cannot be built; what the engine says was shown.
    """
    text = read(requirements)
    tag = name_of(name, text, base)
    with tempfile.TemporaryDirectory(prefix="flywheel-image-") as context:
        (Path(context) / "Dockerfile").write_text(_DOCKERFILE)
        (Path(context) / "requirements.txt").write_text(text)
        _engine("build", "--build-arg", f"BASE={base}", "--tag", tag, *options, context)
    return tag


def push(tag: str) -> None:
    """Push an image to the registry that its name says.

    Raises:
        MissingExtra: Neither Docker nor Podman is here.
        FlywheelError: The registry refuses.
    """
    _engine("push", tag)


def name_of(name: str, requirements: str, base: str) -> str:
    """Return what the image is called: by what is in it."""
    digest = hashlib.sha256(f"{base}\n{requirements}".encode()).hexdigest()[:16]
    return f"{images.REPOSITORY}/{name}:{digest}"


def read(requirements: Path) -> str:
    """Return the text of a requirements file.

    Raises:
        ConfigError: There is no such file, or it asks for nothing.
    """
    try:
        text = requirements.read_text()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise ConfigError(
            f"there is no file {str(requirements)!r}", "write one library a line there, as for `pip install -r`."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{requirements} is not UTF-8 text: {error}", "save it as UTF-8.") from None
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        raise ConfigError(f"{requirements} asks for nothing", f"name a library, or use {images.CPU} as it is.")
    return text


def _engine(*arguments: str) -> None:
    """Run Docker or Podman, whose output is the user's to see."""
    engine = next((found for name in _ENGINES if (found := shutil.which(name))), None)
    if engine is None:
        raise MissingExtra("this needs Docker or Podman, and neither is installed", "install one of them.")
    done = subprocess.run([engine, *arguments], check=False)
    if done.returncode:
        cure = "mend what it says above, then run the same command again."
        raise FlywheelError(f"`{Path(engine).name} {arguments[0]}` failed with exit code {done.returncode}", cure)
