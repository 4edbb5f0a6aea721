"""How Kubernetes writes amounts, labels and names; what it would refuse is refused here, with what to write instead."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, TypeAdapter

_CPU = re.compile(r"(\d+)(\.\d+)?|(\d+)m")
_BYTES = re.compile(r"(\d+)([KMGTPE]i|[MGTPE])?")
_LABEL_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL = re.compile(rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_LABEL_NAME}")
_VALUE = re.compile(rf"(?:{_LABEL_NAME})?")
_SIZE = TypeAdapter(ByteSize)


def cores(text: str) -> float:
    """Return a number of cores."""
    return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)


def size(text: str) -> int:
    """Return a number of bytes."""
    return _SIZE.validate_python(f"{text}B")


def label(text: str) -> str:
    """Refuse what is no label of nodes, as name=value.

    Raises:
        ValueError: It is none.
    """
    name, equals, value = text.partition("=")
    if not equals or not _LABEL.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError("a label of nodes is written as name=value, as karpenter.sh/capacity-type=spot")
    return text


def _text(value: Any) -> Any:
    """Take `2` and `0.5` as YAML reads them."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _cpu(text: str) -> str:
    """Refuse what neither Kubernetes nor kfp takes for a number of cores, and none at all."""
    if not _CPU.fullmatch(text) or not cores(text):
        raise ValueError("cores are written as 2, 0.5 or 500m")
    return text


def _bytes(text: str) -> str:
    """Refuse what neither Kubernetes nor kfp takes for an amount of memory, and what must be a slip: 16 is 16 bytes."""
    parts = _BYTES.fullmatch(text)
    if not parts:
        raise ValueError("memory is written as 16Gi or 512Mi: a whole number and Ki, Mi, Gi, Ti, M, G or T")
    if size(text) < 2**20:
        raise ValueError(f"{text} is less than 1Mi; write {parts[1]}Gi or {parts[1]}Mi")
    return text


def _selector(labels: dict[str, str]) -> dict[str, str]:
    return {name: label(f"{name}={value}").partition("=")[2] for name, value in labels.items()}


def _labels(labels: dict[str, str]) -> dict[str, str]:
    for name, value in labels.items():
        _name(name)
        if not _VALUE.fullmatch(value):
            raise ValueError(
                f"{name} is {value!r}: the value of a label is at most 63 letters, digits, '-', '_' and '.'; write "
                "other text as an annotation"
            )
    return labels


def _annotations(annotations: dict[str, str]) -> dict[str, str]:
    for name in annotations:
        _name(name)
    return annotations


def _name(name: str) -> None:
    if not _LABEL.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name of a label or annotation: at most 63 letters, digits, '-', '_' and '.', after a "
            "domain and '/', as team or example.com/team"
        )


Cores = Annotated[str, BeforeValidator(_text), AfterValidator(_cpu)]
Bytes = Annotated[str, BeforeValidator(_text), AfterValidator(_bytes)]
Label = Annotated[str, AfterValidator(label)]
Selector = Annotated[dict[str, Annotated[str, BeforeValidator(_text)]], AfterValidator(_selector)]
Labels = Annotated[dict[str, Annotated[str, BeforeValidator(_text)]], AfterValidator(_labels)]
Annotations = Annotated[dict[str, Annotated[str, BeforeValidator(_text)]], AfterValidator(_annotations)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
"""Name of an object of Kubernetes."""
MountPath = Annotated[str, Field(pattern=r"^/[\w./-]+$")]
"""Where something is mounted."""
