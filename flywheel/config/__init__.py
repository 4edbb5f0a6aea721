"""What a user writes in `flywheel.yaml`, as pydantic models, and how the file is read."""

from flywheel.config.features import (
    Bucket,
    Category,
    Cross,
    Embedding,
    Feature,
    Hash,
    Image,
    List,
    MultiHot,
    Ngrams,
    Numeric,
    Text,
    Timestamp,
    Transform,
)
from flywheel.config.gates import ColumnGate, DataGate, Fresh, Gates, ModelGate, Statistics
from flywheel.config.project import Deploy, Ledger, Project, Resources, Train
from flywheel.config.read import FILE, load
from flywheel.config.source import BigQuery, Sample, Source, Split

__all__ = [
    "FILE",
    "BigQuery",
    "Bucket",
    "Category",
    "ColumnGate",
    "Cross",
    "DataGate",
    "Deploy",
    "Embedding",
    "Feature",
    "Fresh",
    "Gates",
    "Hash",
    "Image",
    "Ledger",
    "List",
    "ModelGate",
    "MultiHot",
    "Ngrams",
    "Numeric",
    "Project",
    "Resources",
    "Sample",
    "Source",
    "Split",
    "Statistics",
    "Text",
    "Timestamp",
    "Train",
    "Transform",
    "load",
]
