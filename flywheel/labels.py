"""The columns that are predicted: one, or several that are each 0 or 1, which travel from step to step as one text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MULTILABEL = "multilabel"
UNKNOWN = -1
"""Stands for a label that is not known, among 0 and 1."""


def joined(columns: Iterable[str]) -> str:
    """Return several label columns as the one text that `columns_of` takes apart."""
    return ", ".join(columns)


def columns_of(label: str) -> tuple[str, ...]:
    """Return the columns that a label stands for: a column's name has no comma."""
    return tuple(part.strip() for part in label.split(","))


def checked(label: object) -> object:
    """Return `label` of flywheel.yaml as one text.

    Raises:
        ValueError: It is a list of fewer than two columns, or of one twice; a name has a comma.
    """
    names: Sequence[object] = label if isinstance(label, list | tuple) else [label]
    if not all(isinstance(name, str) for name in names):
        return label
    texts = [str(name) for name in names]
    if isinstance(label, list | tuple):
        if len(texts) < 2:
            raise ValueError("a list of labels has two columns or more; of a single one write its name alone")
        if len(set(texts)) < len(texts):
            raise ValueError(f"the label {max(texts, key=texts.count)!r} stands there twice")
        if wrong := next((name for name in texts if "," in name or not name.strip()), None):
            raise ValueError(f"the name of a label is not empty and has no comma; found {wrong!r}")
    return joined(texts)
