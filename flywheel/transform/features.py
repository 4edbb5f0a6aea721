"""The kinds of feature by their name in flywheel.yaml."""

from __future__ import annotations

from typing import Any

from flywheel.transform.categories import Category, Cross, Hash
from flywheel.transform.feature import Feature
from flywheel.transform.numbers import Bucket, Numeric, Timestamp
from flywheel.transform.passthrough import Embedding, Image
from flywheel.transform.sequences import List, MultiHot, Ngrams, Text

_ALL: tuple[type[Feature], ...] = (
    Numeric,
    Bucket,
    Timestamp,
    Category,
    Hash,
    Cross,
    List,
    MultiHot,
    Text,
    Ngrams,
    Embedding,
    Image,
)
KINDS: dict[str, type[Feature]] = {kind.kind: kind for kind in _ALL}


def from_json(entry: dict[str, Any]) -> Feature:
    """Return the feature that `Feature.to_json` wrote."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return KINDS[values.pop("as")](**values)
