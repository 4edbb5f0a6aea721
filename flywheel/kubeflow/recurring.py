"""Recurring runs of Kubeflow that are ours: how they are told from others', and since when a new one counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from flywheel.kubeflow.cluster import Cluster, Refused, named
from flywheel.ticks import Ticks

_MARK = "flywheel-schedule: "
_SAID = ("name", "profile", "digest", "generation", "about")
_ENABLED = ("ENABLE", "ENABLED")


@dataclass(frozen=True)
class Recurring:
    """A recurring run that `flywheel schedule apply` has made.

    Attributes:
        id: Its id.
        name: Of the flywheel.
        profile: With which it was applied; empty without.
        digest: Of all that it was made from.
        generation: One more than that of those which it replaced.
        about: What it was made from, for people to compare.
        enabled: Whether it starts runs.
        created: When it was made (UTC).
        start: From when on it counts, exclusive; None, and it counts from when it was made.
        cron: Its expression, as Kubeflow has it; empty when there is none.
        catchup: Whether it makes up for every time that it missed.
    """

    id: str
    name: str
    profile: str
    digest: str
    generation: int
    about: Mapping[str, Any]
    enabled: bool
    created: datetime
    start: datetime | None
    cron: str
    catchup: bool

    @property
    def owner(self) -> tuple[str, str]:
        """To which flywheel it belongs, with which profile."""
        return self.name, self.profile

    @classmethod
    def of(cls, found: Any) -> Recurring | None:
        """Return what the API has; None when it is somebody else's."""
        _, mark, text = (found.description or "").rpartition(_MARK)
        if not mark:
            return None
        try:
            said = json.loads(text)
            name, profile, digest, generation, about = (said[key] for key in _SAID)
        except (ValueError, KeyError, TypeError):
            return None
        trigger = found.trigger.cron_schedule if found.trigger else None
        return cls(
            id=found.recurring_run_id,
            name=name,
            profile=profile,
            digest=digest,
            generation=generation,
            about=about,
            enabled=str(found.mode or found.status) in _ENABLED,
            created=found.created_at,
            start=trigger.start_time if trigger else None,
            cron=(trigger.cron if trigger else "") or "",
            catchup=not found.no_catchup,
        )


def described(title: str, owner: tuple[str, str], digest: str, generation: int, about: Mapping[str, Any]) -> str:
    """Return the description by which a recurring run is known as ours."""
    said = dict(zip(_SAID, (*owner, digest, generation, about), strict=True))
    return f"{title}\nMade by `flywheel schedule apply`, which replaces it.\n{_MARK}{json.dumps(said, sort_keys=True)}"


def ours(cluster: Cluster) -> list[Recurring]:
    """Return all of the namespace that `flywheel schedule apply` has made, the oldest first."""
    listed = cluster.all(
        "recurring_runs",
        lambda kfp: kfp.list_recurring_runs,
        namespace=cluster.namespace,
        filter=named(_MARK.strip(), "description", "IS_SUBSTRING"),
    )
    found = [each for each in map(Recurring.of, listed) if each is not None]
    return sorted(found, key=lambda each: (each.generation, each.created, each.id))


def seen_to(cluster: Cluster, replaced: Iterable[Recurring], zone: str) -> datetime | None:
    """Return the last time that these have seen to; what takes their place counts from there, so none is lost.

    Args:
        cluster: Where they are.
        replaced: All of one owner, the oldest first; none of them starts runs any more.
        zone: In which the cluster reads cron.
    """
    return max((_last(cluster, each, zone) for each in replaced), default=None)


def _last(cluster: Cluster, each: Recurring, zone: str) -> datetime:
    """Return the last time that one has seen to.

    Newer servers give a run the time at which it was made, not the one that it was due at. It tells all the same,
    unless missed times are made up for one by one: then how many runs there were tells.
    """
    since = each.start or each.created
    runs: Any = cluster.ask(
        lambda kfp: kfp.list_runs,
        page_size=1,
        sort_by="created_at desc",
        namespace=cluster.namespace,
        filter=named(each.id, "recurring_run_id"),
    )
    if not runs.runs:
        return since
    if each.catchup and each.cron:
        ticks = Ticks(" ".join(each.cron.split()[1:]), time_zone=zone)
        return next(islice(ticks.after(since), int(runs.total_size) - 1, None), since)
    at: datetime = runs.runs[0].scheduled_at or runs.runs[0].created_at
    return max(since, at)


def moment(at: datetime) -> str:
    """Return a time as the API takes it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def just_before(at: datetime) -> datetime:
    """Return the last moment before a time: what starts there counts from the time itself."""
    return at - timedelta(seconds=1)


def remove(cluster: Cluster, each: Recurring) -> None:
    """Delete one; it may be gone."""
    try:
        cluster.ask(lambda kfp: kfp.delete_recurring_run, each.id)
    except Refused as error:
        if error.status != 404:
            raise


def switch(cluster: Cluster, each: Recurring, *, on: bool) -> None:
    """Let one start runs, or not."""
    if on:
        cluster.ask(lambda kfp: kfp.enable_recurring_run, each.id)
    else:
        cluster.ask(lambda kfp: kfp.disable_recurring_run, each.id)
