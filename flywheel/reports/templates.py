"""The templates of all reports, compiled when this is imported: a step that reports names it in its `PRELOAD`."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from flywheel.reports import WORDS, number


def _coded(text: object) -> Markup:
    """Return text with what stands between backticks as code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    marked = [Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)]
    return Markup("").join(marked)


def _readable(value: object) -> object:
    return value if hasattr(value, "__html__") else number(value)


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {"number": _readable, "coded": _coded}
_environment.globals["words"] = WORDS
PAGE, PARTS = _environment.get_template("page.html"), _environment.get_template("parts.html")
