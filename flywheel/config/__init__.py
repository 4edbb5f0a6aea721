"""What a user writes in `flywheel.yaml`, as pydantic models, and how the file is read."""

from flywheel.config.deploy import Canary, Deploy, KServe, Local, OnDevice, TFServing, Triton, target_of
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
from flywheel.config.gates import ColumnGate, DataGate, Fresh, Gates, LeakGate, ModelGate, Statistics
from flywheel.config.monitor import Monitor
from flywheel.config.notify import Email, GitHub, Metrics, Notify, Slack
from flywheel.config.project import Checkpoint, Ledger, Project, Train
from flywheel.config.read import FILE, load
from flywheel.config.resources import Resources, Spot, Toleration, Volume
from flywheel.config.serving import RequestLog, ServingGate, Shadow
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
    "Cross",
    "DataGate",
    "Deploy",
    "Email",
    "Embedding",
    "Feature",
    "Fresh",
    "Gates",
    "GitHub",
    "Hash",
    "Image",
    "KServe",
    "LeakGate",
    "Ledger",
    "List",
    "Local",
    "Metrics",
    "ModelGate",
    "Monitor",
    "MultiHot",
    "Ngrams",
    "Notify",
    "Numeric",
    "OnDevice",
    "Project",
    "Range",
    "RequestLog",
    "Resources",
    "Sample",
    "ServingGate",
    "Shadow",
    "Slack",
    "Source",
    "Split",
    "Spot",
    "Statistics",
    "TFServing",
    "Text",
    "Timestamp",
    "Toleration",
    "Train",
    "Transform",
    "Triton",
    "Tune",
    "Volume",
    "load",
    "target_of",
]
