"""`schedule` and `kubeflow`: when a flywheel runs on a cluster, and which cluster that is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from flywheel.config.strict import Duration, Strict
from flywheel.ticks import Cron, Ticks


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("this time zone is not known; names are as Europe/Berlin, America/New_York or UTC") from None
    return name


def _cron(text: str) -> str:
    Cron.parse(text)
    return " ".join(text.split())


def _interval(every: timedelta) -> timedelta:
    if every < timedelta(minutes=1) or every % timedelta(minutes=1):
        raise ValueError("an interval is whole minutes, as 30m, 6h, 2d or 1w")
    return every


def _moment(value: Any) -> Any:
    """Read a date or a time as YAML has it; a time without a zone is one of `time_zone`."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("a time is written as 2026-01-31 or 2026-01-31T06:00") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value


def _text(at: datetime) -> str:
    return at.isoformat()


Moment = Annotated[datetime, BeforeValidator(_moment), PlainSerializer(_text, return_type=str, when_used="json")]
Zone = Annotated[str, AfterValidator(_zone)]


class Schedule(Strict):
    """When a flywheel runs by itself: applied to a cluster by `flywheel schedule apply`."""

    cron: Annotated[str, AfterValidator(_cron)] | None = Field(
        None, description="Five fields, as `0 6 * * mon`: minute, hour, day of the month, month, day of the week."
    )
    every: Annotated[Duration, AfterValidator(_interval)] | None = Field(
        None, description="Or an interval, as 6h or 2d, counted from `start`, or from a Monday at midnight."
    )
    time_zone: Zone = Field("UTC", description="In which cron, `start` and `end` are read, as Europe/Berlin.")
    start: Moment | None = Field(None, description="First time that it may run, as 2026-01-31 or 2026-01-31T06:00.")
    end: Moment | None = Field(None, description="Last time that it may run.")
    catch_up: Literal["latest", "all", "none"] = Field(
        "latest",
        description="What is run for times that were missed, by a pause or an outage: the latest alone, all of them "
        "one after another, or none.",
    )
    concurrency: int = Field(1, ge=1, le=10, description="How many of its runs may go on at the same time.")
    paused: bool = Field(False, description="Whether it stands on the cluster without running.")

    @model_validator(mode="after")
    def _one_rhythm(self) -> Schedule:
        if (self.cron is None) == (self.every is None):
            raise ValueError("schedule has cron or every, and not both: write `cron: 0 6 * * mon` or `every: 6h`")
        start, end = self._instant(self.start), self._instant(self.end)
        if start and end and end < start:
            raise ValueError(f"schedule ends at {end:%Y-%m-%d %H:%M} UTC, before it starts")
        return self

    def _instant(self, moment: datetime | None) -> datetime | None:
        if moment is None:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(self.time_zone))).astimezone(UTC)

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Schedule:
        """Return what `handed` gave and Kubeflow handed on, other keys beside it: the interval is in seconds."""
        known = {key: value for key, value in said.items() if key in cls.model_fields}
        every = {"every": f"{said['every']}s"} if said.get("every") is not None else {}
        return cls.model_validate(known | every)

    def handed(self) -> dict[str, Any]:
        """Return what the runs have to know of it, as JSON values."""
        return self.model_dump(mode="json", exclude={"concurrency", "paused"}, exclude_none=True)

    def ticks(self) -> Ticks:
        """Return the times at which it is due."""
        return Ticks(
            self.cron or "",
            self.every or timedelta(0),
            self.time_zone,
            self._instant(self.start),
            self._instant(self.end),
        )

    def __str__(self) -> str:
        rhythm = f"cron {self.cron!r}" if self.cron else f"every {self.every}"
        return f"{rhythm} in {self.time_zone}, catch_up {self.catch_up}"


class Trigger(Strict):
    """When a cluster looks whether a run is due: the CronJob that `flywheel compile --kubernetes` writes."""

    cron: Annotated[str, AfterValidator(_cron)] = Field("*/15 * * * *", description="Five fields, as `*/15 * * * *`.")
    time_zone: Zone = Field("UTC", description="In which that is read.")
    when: Literal["data", "retrain"] = Field(
        "data",
        description="data: a run for each new span. retrain: only when `flywheel monitor` asks for a training, as "
        "after drift or decay; then for the newest span.",
    )
    service_account: str | None = Field(
        None, description="Kubernetes service account that it runs as; by default the flywheel's name and -trigger."
    )
    endpoint: str = Field(
        "http://ml-pipeline.kubeflow.svc.cluster.local:8888",
        pattern=r"^https?://[^@\s]+$",
        description="URL of the API within the cluster.",
    )


class Kubeflow(Strict):
    """Which Kubeflow Pipelines `flywheel submit` and `flywheel schedule` talk to; tokens are never written here."""

    endpoint: str | None = Field(
        None, description="URL of the API, as https://kubeflow.example.com/pipeline; else KF_PIPELINES_ENDPOINT."
    )
    ui: str | None = Field(None, description="URL of the web pages, if it is not `endpoint`.")
    namespace: str | None = Field(None, description="Profile namespace, where Kubeflow has several users.")
    experiment: str | None = Field(None, description="Experiment of the runs; by default the flywheel's name.")
    pipeline_root: str | None = Field(
        None, description="Where code and artifacts are put, as gs://bucket/path, s3://… or minio://…"
    )
    service_account: str | None = Field(None, description="Kubernetes service account of the steps.")
    time_zone: Zone = Field(
        "UTC", description="In which the cluster reads cron: CRON_SCHEDULE_TIMEZONE of ml-pipeline-scheduledworkflow."
    )
    ssl_ca_cert: str | None = Field(None, description="File with the certificate authority of `endpoint`.")

    @model_validator(mode="after")
    def _no_secrets(self) -> Kubeflow:
        for name in ("endpoint", "ui", "pipeline_root"):
            parts = urlsplit(getattr(self, name) or "")
            if parts.username or parts.password:
                raise ValueError(
                    f"a user or password does not belong in kubeflow.{name}; set FLYWHEEL_KFP_TOKEN or "
                    "FLYWHEEL_KFP_COOKIES in the environment"
                )
        return self
