"""TFDV's statistics of rows, what they say, and the schema and distances that follow from them."""

from flywheel.statistics.distance import distances, skew
from flywheel.statistics.gathered import Gathered, gather, summarize_spans
from flywheel.statistics.local import summarize
from flywheel.statistics.options import Options
from flywheel.statistics.reading import bins, by_column, common, features, shares
from flywheel.statistics.schema import SCHEMA_FILE, SERVING, TRAINING, for_one_span, infer_schema, read_schema

__all__ = [
    "SCHEMA_FILE",
    "SERVING",
    "TRAINING",
    "Gathered",
    "Options",
    "bins",
    "by_column",
    "common",
    "distances",
    "features",
    "for_one_span",
    "gather",
    "infer_schema",
    "read_schema",
    "shares",
    "skew",
    "summarize",
    "summarize_spans",
]
