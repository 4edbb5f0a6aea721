"""TFDV's statistics of rows, what they say, and the schema and distances that follow from them."""

from flywheel.statistics.distance import distances
from flywheel.statistics.local import summarize
from flywheel.statistics.reading import bins, common, features, shares
from flywheel.statistics.schema import SCHEMA_FILE, SERVING, TRAINING, for_one_span, infer_schema, read_schema

__all__ = [
    "SCHEMA_FILE",
    "SERVING",
    "TRAINING",
    "bins",
    "common",
    "distances",
    "features",
    "for_one_span",
    "infer_schema",
    "read_schema",
    "shares",
    "summarize",
]
