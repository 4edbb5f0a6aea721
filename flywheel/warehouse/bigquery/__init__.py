"""BigQuery: the query runs there untranslated; its rows come as Arrow, exact, and are not paid for twice."""

from __future__ import annotations

import re

from flywheel.errors import ConfigError
from flywheel.warehouse import Options
from flywheel.warehouse.bigquery import calls  # noqa: F401 - first: it quiets what Google's libraries say when imported
from flywheel.warehouse.bigquery.warehouse import BigQuery

_URL = re.compile(
    r"bigquery://(?P<project>(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9])(?:/(?P<dataset>\w{1,1024}))?/?"
)


def connect(url: str, options: Options) -> BigQuery:
    """Return the warehouse `bigquery://PROJECT[/DATASET]`: the project pays, the dataset is where bare names are.

    Raises:
        ConfigError: The URL is not of that form, or there are no credentials.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise ConfigError(
            f"warehouse {url!r} names no BigQuery project",
            "write it as bigquery://PROJECT or bigquery://PROJECT/DATASET: a project's id has 6 to 30 small letters, "
            "digits and hyphens, a dataset letters, digits and underscores.",
        )
    return BigQuery(found["project"], found["dataset"] or "", options)
