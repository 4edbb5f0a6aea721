"""What a user writes in `flywheel.yaml`, as pydantic models, and how the file is read."""

from flywheel.config.deploy import Canary, Deploy, KServe, Local, OnDevice, TFServing, Triton, target_of
from flywheel.config.gates import ColumnGate, DataGate, Fresh, Gates, ModelGate, Statistics
from flywheel.config.project import Bucket, Category, Feature, Ledger, Numeric, Project, Resources, Train
from flywheel.config.read import FILE, load
from flywheel.config.source import BigQuery, Sample, Source, Split

__all__ = [
    "FILE",
    "BigQuery",
    "Bucket",
    "Canary",
    "Category",
    "ColumnGate",
    "DataGate",
    "Deploy",
    "Feature",
    "Fresh",
    "Gates",
    "KServe",
    "Ledger",
    "Local",
    "ModelGate",
    "Numeric",
    "OnDevice",
    "Project",
    "Resources",
    "Sample",
    "Source",
    "Split",
    "Statistics",
    "TFServing",
    "Train",
    "Triton",
    "load",
    "target_of",
]
