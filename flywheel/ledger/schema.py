"""The newest schema that this MLflow knows: read once, where a warm parent loads it, instead of in each of its forks.

MLflow reads all of its migrations to find that out, whenever a store is opened.
"""

from functools import cache

from mlflow.store.db import utils

utils._get_latest_schema_revision = cache(utils._get_latest_schema_revision)
utils._get_latest_schema_revision()
