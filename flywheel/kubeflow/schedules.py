"""Schedules as declarations: what flywheel.yaml says is made true on a cluster, and nothing else is touched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flywheel.errors import ClusterError, ConfigError
from flywheel.kubeflow.cluster import Cluster, Refused
from flywheel.kubeflow.declared import Change, Declared, change_of, flywheels, kept
from flywheel.kubeflow.recurring import Recurring, described, just_before, moment, ours, remove, seen_to, switch
from flywheel.kubeflow.versions import Package
from flywheel.workspace import Workspace

_ROUNDS = 8


@dataclass
class Schedules:
    """The schedules of one or more flywheels on their clusters.

    Args:
        declared: What folders declare.
        sleep: Waits for so many seconds.
        clock: Gives the time, with its zone.
        environment: Where tokens are.
    """

    declared: Sequence[Declared]
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def diff(self, *, refresh: bool = False) -> list[Change]:
        """Return what `apply` would do; nothing is sent or changed."""
        self._check()
        changes = [
            (each, change_of(each, self._mine(self._cluster(each), each), refresh=refresh)) for each in self.declared
        ]
        return [change for each, change in changes if not _beside(each, change)]

    def apply(self, *, refresh: bool = False, tell: Callable[[Change], object] = lambda change: None) -> list[Change]:
        """Make what is declared true; said twice, the second time changes nothing.

        It may be killed at any moment and said again. What replaces a schedule counts from the last time that the
        former has seen to, so no time is run for twice or missed.

        Args:
            refresh: Whether to make anew what is as it is declared, as after an upgrade of Kubeflow.
            tell: Called with each change when it is done.

        Raises:
            ClusterError: The cluster cannot be reached, or refuses.
        """
        self._check()
        done = []
        for each in self.declared:
            cluster = self._cluster(each)
            change = change_of(each, self._mine(cluster, each), refresh=refresh)
            self._converge(cluster, each, refresh=refresh)
            if not _beside(each, change):
                tell(change)
                done.append(change)
        return done

    def pause(self) -> list[Change]:
        """Stop the schedules on the cluster, until `resume` or `apply`; runs that go on are left alone."""
        return self._switch(on=False)

    def resume(self) -> list[Change]:
        """Let the schedules on the cluster go on; what was missed is run as `catch_up` says."""
        return self._switch(on=True)

    def delete(self) -> list[Change]:
        """Remove the schedules from the cluster; their runs stay."""
        done = []
        for each in self.declared:
            cluster = self._cluster(each)
            mine = self._mine(cluster, each)
            for recurring in mine:
                remove(cluster, recurring)
            change = Change("delete" if mine else "none", *each.owner)
            done += [] if _beside(each, change) else [change]
        return done

    def standing(self) -> list[tuple[Recurring, str]]:
        """Return every schedule that `apply` has made in the namespaces of the declared, and its page."""
        found: dict[str, tuple[Recurring, str]] = {}
        for each in self.declared:
            cluster = self._cluster(each)
            found |= {
                recurring.id: (recurring, cluster.link("recurringrun", recurring.id)) for recurring in ours(cluster)
            }
        return sorted(found.values(), key=lambda pair: pair[0].owner)

    def _check(self) -> None:
        """Find what is wrong with any of the declarations before the first is applied."""
        for each in self.declared:
            _ = each.package

    def _cluster(self, each: Declared) -> Cluster:
        return Cluster(each.workspace.project.kubeflow, sleep=self.sleep, environment=self.environment)

    def _mine(self, cluster: Cluster, each: Declared) -> list[Recurring]:
        if each.when is None and not cluster.endpoint:
            return []  # it has nothing to do with any cluster
        return [recurring for recurring in ours(cluster) if recurring.owner == each.owner]

    def _switch(self, *, on: bool) -> list[Change]:
        """Pause or resume those that are there.

        Raises:
            ClusterError: None is.
        """
        done = []
        for each in self.declared:
            cluster = self._cluster(each)
            mine = self._mine(cluster, each)
            # A replacement that was killed leaves several: the newest counts, and no two may run.
            changed = [recurring for recurring in mine[:-1] if recurring.enabled]
            changed += [recurring for recurring in mine[-1:] if recurring.enabled != on]
            for recurring in changed:
                switch(cluster, recurring, on=on and recurring is mine[-1])
            if mine:
                done.append(Change(("resume" if on else "pause") if changed else "none", *each.owner))
        if not done:
            names = ", ".join(each.owner[0] for each in self.declared if each.when or not each.monitoring)
            raise ClusterError(f"{names}: no schedule on the cluster", "make it by `flywheel schedule apply`.")
        return done

    def _converge(self, cluster: Cluster, each: Declared, *, refresh: bool) -> None:
        """Look, do what follows from what is there, and look again, until nothing is left to do."""
        fresh: set[str] = set()
        for _ in range(_ROUNDS):
            mine = self._mine(cluster, each)
            stale = {recurring.id for recurring in mine} - fresh if refresh else set()
            keep, rest = kept(each, [recurring for recurring in mine if recurring.id not in stale], mine)
            if keep is None and each.package is not None:
                fresh.add(self._replace(cluster, each, each.package, mine))
            elif rest:
                for recurring in rest:
                    remove(cluster, recurring)
            elif keep and keep.enabled == each.schedule.paused:
                switch(cluster, keep, on=not each.schedule.paused)
            else:
                return
        raise ClusterError(f"somebody else changes the schedule of {each.owner[0]}", "see who, then apply again.")

    def _replace(self, cluster: Cluster, each: Declared, package: Package, former: list[Recurring]) -> str:
        """Make the recurring run that is declared, to count from where the former ones have come; return its id."""
        experiment = cluster.experiment(package.name)
        ids = package.send(cluster)  # all that takes time comes before the former ones stand still
        stopped = [recurring for recurring in former if recurring.enabled]
        for recurring in stopped:
            switch(cluster, recurring, on=False)
        ticks = each.schedule.ticks()
        seen = seen_to(cluster, former, cluster.settings.time_zone)
        begin = just_before(ticks.start) if ticks.start else None
        start = max((at for at in (seen, begin) if at), default=None)
        try:
            return self._make(cluster, each, package, former, start, experiment, ids)
        except Refused as error:
            for recurring in stopped if error.status < 500 else ():  # after any other error it may have been made
                switch(cluster, recurring, on=True)
            raise

    def _make(
        self,
        cluster: Cluster,
        each: Declared,
        package: Package,
        former: list[Recurring],
        start: datetime | None,
        experiment: str | None,
        ids: tuple[str, str],
    ) -> str:
        settings, schedule, ticks = cluster.settings, each.schedule, each.schedule.ticks()
        name, profile = each.owner
        generation = max((recurring.generation for recurring in former), default=0) + 1
        known = {recurring.id for recurring in former}

        def find() -> str | None:
            mine = [recurring for recurring in self._mine(cluster, each) if recurring.id not in known]
            return next((recurring.id for recurring in mine if recurring.digest == each.digest()), None)

        since = moment(start or self.clock())

        def make() -> str:
            made: Any = cluster.once(
                lambda kfp: kfp.create_recurring_run,
                experiment_id=experiment,
                job_name=f"{name} {profile}".strip(),
                description=described(f"{name}: {schedule}", each.owner, each.digest(), generation, each.about()),
                start_time=moment(start) if start else None,
                end_time=moment(ticks.end) if ticks.end else None,
                cron_expression=f"0 {ticks.alarms(settings.time_zone, self.clock())}",
                max_concurrency=schedule.concurrency,
                no_catchup=schedule.catch_up != "all",
                params=each.parameters(since),
                pipeline_id=ids[0],
                version_id=ids[1],
                enabled=not schedule.paused,
                pipeline_root=settings.pipeline_root,
                service_account=settings.service_account,
            )
            return str(made.recurring_run_id)

        return cluster.find_or_make(find, make)


def _beside(each: Declared, change: Change) -> bool:
    """Return whether there is nothing to tell: no monitoring is declared, and none stands."""
    return each.monitoring and each.when is None and change.kind == "none"


def schedules(
    *folders: Path | str,
    profile: str | None = None,
    overrides: Iterable[str] = (),
    **how: Any,
) -> Schedules:
    """Return the schedules of flywheels, to be looked at and applied.

    Args:
        folders: Each holds flywheel.yaml, or folders that do; this folder by default.
        profile: Profile to lay over each.
        overrides: `key.sub=value` to lay over that.
        how: See `Schedules`.

    Raises:
        ConfigError: A declaration is wrong, or two are of the same name; nothing has been changed then.
    """
    found = [folder for each in folders or (".",) for folder in flywheels(Path(each))]
    opened = [Workspace.open(folder, profile, list(overrides)) for folder in found]
    declared = [Declared(each, profile or "", monitoring) for each in opened for monitoring in (False, True)]
    owners: dict[tuple[str, str], Path] = {}
    for each in declared:
        if other := owners.get(each.owner):
            raise ConfigError(
                f"{other} and {each.workspace.folder} are both named {each.owner[0]!r}", "give one another `name`."
            )
        owners[each.owner] = each.workspace.folder
    return Schedules(declared, **how)
