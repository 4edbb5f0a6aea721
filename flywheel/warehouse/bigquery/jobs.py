"""Jobs: looked at before they cost, found again instead of paid twice, sent again when BigQuery dropped them."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type

from flywheel.errors import ConfigError, SQLError
from flywheel.say import say
from flywheel.warehouse import Options
from flywheel.warehouse.bigquery import calls
from flywheel.warehouse.bigquery.errors import RETRYABLE, explain, explained, reason_of

if TYPE_CHECKING:
    from google.cloud import bigquery

LIST_PRICE = 6.25
"""US dollars for a TiB read, on demand in the US: list price, without free tier, discounts or reservations."""

JOB_ID = "{flywheel job}"
"""Stands in the text of a request for the name of the job that runs it."""

_TIB = 1024**4
_RESUBMITTED = 3
PAUSE = 1.0
"""Seconds before a dropped job is sent again, doubled each time."""

_FOR_GOOD = ("responseTooLarge",)
"""Reasons that hold for the same request at any time."""

_LOST = ("stopped", "timeout")
"""Reasons of a job that was cancelled, by its time limit or by hand."""


@dataclass(frozen=True)
class Request:
    """A query to be run.

    Attributes:
        text: SQL as it is sent, with `JOB_ID` where it names its own job.
        identity: What makes it this request: equal ones share a job. Neither labels nor options are part of it.
        parameters: Values of its parameters.
        location: Where it runs; None where BigQuery finds out.
        labels: For the bill.
    """

    text: str
    identity: tuple[str, ...]
    parameters: Sequence[bigquery.ScalarQueryParameter] = ()
    location: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def job_id(self, attempt: int) -> str:
        """Return the name of its job; each attempt has its own, for BigQuery never forgets one."""
        values = [parameter.to_api_repr() for parameter in self.parameters]
        text = json.dumps([self.identity, values], sort_keys=True, default=str)
        return f"flywheel-{hashlib.sha256(text.encode()).hexdigest()[:32]}-{attempt}"


class Jobs:
    """Runs queries of one project.

    Args:
        client: BigQuery.
        options: Limits, labels and priority.
    """

    def __init__(self, client: bigquery.Client, options: Options) -> None:
        self._client, self._options = client, options

    def look(self, text: str, parameters: Sequence[bigquery.ScalarQueryParameter] = ()) -> bigquery.QueryJob:
        """Return what BigQuery says of a query without running it: schema, tables and bytes, free of charge."""
        from google.cloud import bigquery

        settings = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False, query_parameters=list(parameters))
        settings.labels = _labels(self._options.labels)
        where = self._options.location
        return self._client.query(text, job_config=settings, location=where, timeout=calls.ANSWER)

    def check_bytes(self, job: bigquery.QueryJob) -> None:
        """Refuse a query, by its dry run, that would read more than is allowed.

        Raises:
            SQLError: It would; with both numbers and the price.
        """
        limit, would = self._options.maximum_bytes_billed, job.total_bytes_processed or 0
        if limit is not None and would > limit:
            price = f"${would / _TIB * LIST_PRICE:,.2f} (list price, ${LIST_PRICE} a TiB)"
            raise SQLError(
                f"the query would read {_size(would)}, more than the {_size(limit)} that `maximum_bytes_billed` "
                f"allows; on demand it would cost {price}",
                "limit it to @start and @end by the column that the table is partitioned by, name the columns instead "
                "of `*`, or raise `source.maximum_bytes_billed`.",
            )

    def run(self, request: Request, there: Callable[[bigquery.QueryJob], bool]) -> bigquery.QueryJob:
        """Return the finished job of `request`: an earlier run's where its results are still `there`, or a new one.

        Raises:
            SQLError: The query fails, or takes longer than `timeout`.
            ConfigError: It is not allowed.
            DataError: BigQuery dropped it again and again.
        """
        attempt, dropped = 0, 0
        while True:
            job, found = self._begin(request, attempt)
            attempt += 1
            if job is None:
                continue
            if found:
                say(f"  found job {job.job_id} of an earlier run")
            self._wait(job)
            reason = (job.error_result or {}).get("reason")
            if reason is None and (not found or there(job)):
                return job
            if reason is not None and (not found or reason in _FOR_GOOD):
                dropped += 1
                if reason not in RETRYABLE or dropped > _RESUBMITTED:
                    raise explain(reason, job.error_result.get("message", ""))
                say(f"  BigQuery dropped job {job.job_id} ({reason}); sending it again")
                time.sleep(PAUSE * 2**dropped)

    def _begin(self, request: Request, attempt: int) -> tuple[bigquery.QueryJob | None, bool]:
        """Send the job, or find the one that was sent: (job, whether an earlier process sent it).

        No job where another account sent it, whose results are not for us.
        """
        job_id, location = request.job_id(attempt), request.location or self._options.location
        with explained():
            try:
                text, settings = request.text.replace(JOB_ID, job_id), self._settings(request)
                where: dict[str, Any] = {"job_id": job_id, "location": location}
                return self._client.query(text, job_config=settings, timeout=calls.ANSWER, **where), False
            except exceptions.Conflict:
                pass
            find = Retry(predicate=if_exception_type(exceptions.NotFound), initial=0.2, timeout=30)
            try:
                earlier: Any = find(self._client.get_job)(job_id, location=location, timeout=calls.ANSWER)
                return earlier, True
            except exceptions.Forbidden:
                return None, True

    def _settings(self, request: Request) -> bigquery.QueryJobConfig:
        from google.cloud import bigquery

        settings = bigquery.QueryJobConfig(query_parameters=list(request.parameters), use_legacy_sql=False)
        settings.priority = self._options.priority.upper()
        settings.labels = _labels({**self._options.labels, **request.labels})
        settings.job_timeout_ms = int(self._options.timeout * 1000)
        if self._options.maximum_bytes_billed is not None:
            settings.maximum_bytes_billed = self._options.maximum_bytes_billed
        return settings

    def _wait(self, job: bigquery.QueryJob) -> None:
        """Return when `job` is done; cancel it when it takes longer than is allowed."""
        deadline, pause = time.monotonic() + self._options.timeout, 0.05
        with explained():
            while not job.done(timeout=calls.ANSWER):
                if time.monotonic() > deadline:
                    job.cancel(timeout=calls.ANSWER)
                    raise self._too_long(job)
                time.sleep(min(pause, max(deadline - time.monotonic(), 0.01)))
                pause = min(pause * 1.5, 3.0)
        if (job.error_result or {}).get("reason") in _LOST and time.monotonic() > deadline - 1:
            raise self._too_long(job)

    def _too_long(self, job: bigquery.QueryJob) -> SQLError:
        return SQLError(
            f"the query took longer than {self._options.timeout:g} s; its job {job.job_id} is cancelled",
            "raise `source.bigquery.timeout`, take shorter spans, or read less.",
        )


def rows_there(client: bigquery.Client) -> Callable[[bigquery.QueryJob], bool]:
    """Return what tells whether the rows of a finished job are still kept (BigQuery keeps them for a day)."""

    def there(job: bigquery.QueryJob) -> bool:
        try:
            with explained():
                client.get_table(job.destination, timeout=calls.ANSWER)
        except ConfigError:
            return False
        return True

    return there


def try_look(jobs: Jobs, text: str, parameters: Sequence[Any]) -> tuple[bigquery.QueryJob | None, Exception | None]:
    """Return a dry run, or why there is none where another type of parameter might help; raise what else is wrong."""
    with explained():
        try:
            return jobs.look(text, parameters), None
        except exceptions.BadRequest as error:
            if reason_of(error) == "invalidQuery" and re.search(r"signature|coerce|type", str(error), re.I):
                return None, error
            raise


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels as BigQuery takes them: lower case letters, digits, `-` and `_`, at most 63 of them."""
    return {_label(key): _label(value) for key, value in labels.items()}


def _label(text: str) -> str:
    return re.sub(r"[^\w-]", "-", text.lower())[:63]


def _size(count: int) -> str:
    """Return a number of bytes to read and to compare: `20 GB (20,000,000,000 bytes)`."""
    units = [(10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")]
    scale, unit = next(((scale, unit) for scale, unit in units if count >= scale), (1, "bytes"))
    return f"{count / scale:,.4g} {unit} ({count:,} bytes)"
