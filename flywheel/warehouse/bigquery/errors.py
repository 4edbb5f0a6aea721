"""BigQuery's errors, told as what is wrong, what was found and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from flywheel.errors import ConfigError, DataError, FlywheelError, SQLError

RETRYABLE = frozenset(
    (
        "backendError",
        "internalError",
        "rateLimitExceeded",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
    )
)
"""Reasons for which the same job may well succeed when it is sent again."""

_ROLES = (
    "BigQuery Job User on the project, BigQuery Data Viewer on what the query reads, and Storage Object User on the "
    "bucket of `source.bigquery.export` where there is one"
)
_PAST = re.compile(r"snapshot time|time travel|cannot read before", re.I)


class TooLarge(SQLError):
    """The result of a query is larger than BigQuery gives back: export it."""


def explain(reason: str, message: str) -> FlywheelError:
    """Return the error for a `reason` and `message` of BigQuery."""
    found = message.strip().splitlines()[0] if message.strip() else reason
    if _PAST.search(message):
        return DataError(
            f"BigQuery no longer keeps the rows of that time: {found}",
            "run again, so that the plan notes a new state and spans are extracted as they are now; for the next time, "
            "lengthen the time travel window of the dataset (7 days at most).",
        )
    if reason == "responseTooLarge":
        return TooLarge(
            f"the result of the query is too large: {found}", "set `source.bigquery.export` to a folder on gs://."
        )
    if reason in ("bytesBilledLimitExceeded", "billingTierLimitExceeded"):
        return SQLError(
            f"the query would cost more than is allowed: {found}", "raise `source.maximum_bytes_billed`, or read less."
        )
    if reason in ("quotaExceeded", "billingNotEnabled"):
        return ConfigError(
            f"BigQuery refuses the query for its quota: {found}",
            "wait until the quota is renewed, or have it raised in the Google Cloud console.",
        )
    if reason in ("accessDenied", "forbidden", "responseForbidden"):
        return ConfigError(f"Google Cloud denies access: {found}", f"grant the account {_ROLES}.")
    if reason == "notFound":
        return SQLError(
            f"BigQuery does not find what the query names: {found}",
            "mend the name in the query, `source.warehouse`, or `source.bigquery.location`.",
        )
    if reason in RETRYABLE or reason == "resourcesExceeded":
        return DataError(
            f"BigQuery did not finish the query: {found}",
            "run again later: a finished job is found again and costs nothing twice."
            if reason in RETRYABLE
            else "split the query, leave out its ORDER BY, or take shorter spans.",
        )
    return SQLError(f"the query does not run on BigQuery: {found}", "mend it; line and column are of the query file.")


def reason_of(error: Exception) -> str:
    """Return the reason that BigQuery gives with an error, or the kind of the error."""
    errors = getattr(error, "errors", None) or [{}]
    first = errors[0] if isinstance(errors[0], dict) else {}
    kinds = {400: "invalidQuery", 403: "accessDenied", 404: "notFound", 429: "rateLimitExceeded"}
    return first.get("reason") or kinds.get(getattr(error, "code", 0) or 0, "backendError")


def message_of(error: Exception) -> str:
    """Return what BigQuery says, without the request that it was said to."""
    errors = getattr(error, "errors", None) or [{}]
    said = errors[0].get("message") if isinstance(errors[0], dict) else None
    return str(said or getattr(error, "message", None) or error)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the client raises into Flywheel's errors; what is none of BigQuery's doing passes."""
    from google.api_core import exceptions
    from google.auth import exceptions as auth
    from requests.exceptions import RequestException

    try:
        yield
    except exceptions.RetryError as error:
        cause = error.cause or error
        raise DataError(
            f"BigQuery does not answer: {message_of(cause)}", "run again later: a running job is found again."
        ) from None
    except exceptions.GoogleAPICallError as error:
        raise explain(reason_of(error), message_of(error)) from None
    except RequestException as error:
        raise DataError(f"Google Cloud cannot be reached: {error}", "look after the network, then run again.") from None
    except (auth.RefreshError, auth.TransportError) as error:
        raise ConfigError(
            f"the Google credentials are not accepted: {error}",
            "log in anew by `gcloud auth application-default login`, or mend GOOGLE_APPLICATION_CREDENTIALS.",
        ) from None
