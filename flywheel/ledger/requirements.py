"""MLflow's table of installed packages, read at import: half a second that each step which saves a model would spend.

A step that saves a model names this module in its `PRELOAD`; imported elsewhere it changes nothing but the time.
"""

from flywheel.ledger import engine  # noqa: F401  (quiet settings before MLflow's own modules)

from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches  # isort: skip

warn_dependency_requirement_mismatches(["mlflow"])
