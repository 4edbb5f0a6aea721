"""What a user writes in `flywheel.yaml`, as pydantic models, and how the file is read."""

from flywheel.config.gates import ColumnGate, DataGate, Fresh, Gates, ModelGate, Statistics
from flywheel.config.project import Bucket, Category, Deploy, Feature, Ledger, Numeric, Project, Resources, Train
from flywheel.config.read import FILE, load
from flywheel.config.serving import RequestLog, ServingGate, Shadow
from flywheel.config.source import BigQuery, Sample, Source, Split

__all__ = [
    "FILE",
    "BigQuery",
    "Bucket",
    "Category",
    "ColumnGate",
    "DataGate",
    "Deploy",
    "Feature",
    "Fresh",
    "Gates",
    "Ledger",
    "ModelGate",
    "Numeric",
    "Project",
    "RequestLog",
    "Resources",
    "Sample",
    "ServingGate",
    "Shadow",
    "Source",
    "Split",
    "Statistics",
    "Train",
    "load",
]
