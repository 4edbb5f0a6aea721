"""What a user writes in `flywheel.yaml`, as pydantic models, and how the file is read."""

from flywheel.config.deploy import Canary, Deploy, KServe, Local, OnDevice, TFServing, Triton, target_of
from flywheel.config.gates import ColumnGate, DataGate, Fresh, Gates, ModelGate, Statistics
from flywheel.config.project import (
    Bucket,
    Category,
    Checkpoint,
    Feature,
    Ledger,
    Numeric,
    Project,
    Train,
)
from flywheel.config.read import FILE, load
from flywheel.config.resources import Resources, Spot, Toleration, Volume
from flywheel.config.source import BigQuery, Sample, Source, Split
from flywheel.config.tune import Range, Tune

__all__ = [
    "FILE",
    "BigQuery",
    "Bucket",
    "Canary",
    "Category",
    "Checkpoint",
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
    "Range",
    "Resources",
    "Sample",
    "Source",
    "Split",
    "Spot",
    "Statistics",
    "TFServing",
    "Toleration",
    "Train",
    "Triton",
    "Tune",
    "Volume",
    "load",
    "target_of",
]
