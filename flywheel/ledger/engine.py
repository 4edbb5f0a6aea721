"""MLflow, imported quietly and with the settings that the ledger relies on; imported only where it is needed.

A step that uses the ledger names this module in its `PRELOAD`: a warm parent then has MLflow loaded, and no connection
is shared over a fork, because none outlives its transaction (`NullPool`).
"""

from __future__ import annotations

import logging
import os
import warnings

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # the default of 7 means minutes before anyone hears of a dead server
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydantic's remarks on MLflow's own classes
    import mlflow.artifacts
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store
    import mlflow.tracking
    from alembic import command as _alembic  # noqa: F401  (MLflow imports it late, in every process anew)
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking import MlflowClient

PRELOAD = (
    "flywheel.ledger.migrate",
    "flywheel.ledger.schema",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "sqlalchemy.dialects.sqlite",
    "alembic.config",
    "flywheel.ledger.opened",
)
"""What MLflow imports when it opens a store; and the one that is going to be used."""

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs a stack for what we report in a line
logging.getLogger("alembic").setLevel(logging.WARNING)

__all__ = ["MlflowClient", "MlflowException", "SqlAlchemyStore", "mlflow"]
