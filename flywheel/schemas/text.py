"""schema.pbtxt as a file of the project: read with the line of what is wrong, written whole and in a stable order."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from flywheel.errors import ConfigError
from flywheel.statistics.schema import SCHEMA_FILE


def load(folder: Path) -> Any:
    """Return the schema of a project's folder; None when it has none.

    Raises:
        ConfigError: The file is no schema; the message names the line.
    """
    file = folder / SCHEMA_FILE
    return parse(file.read_text("utf-8", "replace")) if file.is_file() else None


def parse(text: str) -> Any:
    """Return the schema that `text`, a text proto, holds.

    Raises:
        ConfigError: It is none; the message names the line.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as error:
        line = error.GetLine()
        where = f"{SCHEMA_FILE}, line {line}" if line else SCHEMA_FILE
        said = re.sub(r"^\d+:\d+ : ", "", str(error))
        shown = f" (it says {text.splitlines()[line - 1].strip()!r})" if line and line <= len(text.splitlines()) else ""
        raise ConfigError(
            f"{where}: {said}{shown}", "mend it there, or delete the file to have it inferred by the next run."
        ) from None


def dump(schema: Any) -> str:
    """Return the schema as text proto, which TFDV reads; features and domains in the order that they have."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(schema))


def write(folder: Path, text: str, name: str = SCHEMA_FILE) -> Path:
    """Put `text` in place of the project's file; whoever reads it meanwhile gets the old one or the new, whole."""
    file = folder / name
    partial = file.with_name(f".{name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, "utf-8")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def has_comments(text: str) -> bool:
    """Return whether the text proto has comments, which are lost when it is written anew."""
    return any(re.sub(r'"(\\.|[^"\\])*"', "", line).lstrip().find("#") >= 0 for line in text.splitlines())
