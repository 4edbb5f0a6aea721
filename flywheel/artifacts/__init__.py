"""Typed views on artifact folders: what a step writes, and how the next one knows what it was given.

Kubeflow sees only its own artifact types, so the meaning stands in the folder: its payload and a `flywheel.json`
with type, version, content digest, spans, producer and counts. A folder is made under a temporary name and renamed
when it is whole, so whoever finds one finds all of it.
"""

from flywheel.artifacts.examples import ADDED, VALIDATION, WEIGHT, Examples, ExamplesWriter
from flywheel.artifacts.folder import MANIFEST, Artifact, Draft, Manifest
from flywheel.artifacts.kinds import HISTORY, Evaluation, Model, Statistics, TransformState
from flywheel.artifacts.verdict import Check, Verdict

__all__ = [
    "ADDED",
    "HISTORY",
    "MANIFEST",
    "VALIDATION",
    "WEIGHT",
    "Artifact",
    "Check",
    "Draft",
    "Evaluation",
    "Examples",
    "ExamplesWriter",
    "Manifest",
    "Model",
    "Statistics",
    "TransformState",
    "Verdict",
]
