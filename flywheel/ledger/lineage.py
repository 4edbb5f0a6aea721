"""Where a version comes from: rows, SQL, code, training, parents, and the decisions that made it."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import LedgerError
from flywheel.ledger.acts import Act
from flywheel.ledger.registry import LOOKS, NoVersion, version_of
from flywheel.ledger.rows import Champion, Row
from flywheel.ledger.store import Missing
from flywheel.ledger.timeline import changes, reigns

if TYPE_CHECKING:
    from flywheel.ledger import Ledger

_RESULTS = ("pass", "warn", "undecided", "fail")
_ENVIRONMENT, _PARAMETER = "environment.", "parameters."


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        version: Its number.
        span: The span it was made for; empty when other hands registered it.
        registered: When (UTC).
        aliases: Those that point to it.
        run: The ledger's row that it comes from; empty when other hands registered it.
        digest: Content digest of its folder.
        metric: What `figure` is, as `auc`.
        figure: What the model scored when it was judged.
        reigns: From when to when it was champion (UTC), and by what it became so; no end for the one that is.
        rolled_back: Why it was, if it was.
    """

    version: str
    span: str
    registered: datetime
    aliases: tuple[str, ...]
    run: str
    digest: str
    metric: str
    figure: float | None
    reigns: tuple[tuple[datetime, datetime | None, str], ...]
    rolled_back: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        reigns = [
            {"since": since.isoformat(), "until": until.isoformat() if until else None, "by": by}
            for since, until, by in self.reigns
        ]
        return asdict(self) | {"registered": self.registered.isoformat(), "reigns": reigns}


@dataclass(frozen=True)
class Lineage:
    """Where one version comes from; what is not known is empty.

    Attributes:
        model: Name of the registered model.
        version: Its number.
        span: The span that it was made for.
        digest: Content digest of the model's folder.
        window: First and last span that it was trained on.
        judge: First and last span that it was judged on.
        data: Digest of the rows it was trained on, counts, and the state of the warehouse.
        query: The SQL text.
        code: Digest of the project's archive.
        training: MLflow run, trainer, seed, parameters, versions, and what it began from.
        parents: The champions before it, newest first: against each the next one was judged.
        decisions: What each gate said.
        by_hand: What people did that made it champion, or took it out.
        waivers: What people let through for its span.
        run: The ledger's row.
        job: The pipeline run.
    """

    model: str
    version: str
    span: str
    digest: str
    window: str
    judge: str
    data: dict[str, Any]
    query: str
    code: str
    training: dict[str, Any]
    parents: list[dict[str, str]]
    decisions: list[dict[str, Any]]
    by_hand: list[str]
    waivers: list[str]
    run: str
    job: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def versions(ledger: Ledger, name: str) -> list[Version]:
    """Return the versions of a registered model, oldest first.

    Raises:
        NoVersion: There is no such model.
    """
    client = ledger.client
    try:
        aliases = client.get_registered_model(name).aliases
    except Missing:
        known = sorted(
            model.name for model in client.search_registered_models() if ".promotion-lock." not in model.name
        )
        raise NoVersion(
            f"there is no model {name!r} in the ledger", f"there are {', '.join(known) or 'none yet'}."
        ) from None
    rows, found, token = {row.run: row for row in ledger.rows(name)}, [], None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found += page
        token = page.token
        if not token:
            break
    served: dict[str, list[tuple[datetime, datetime | None, str]]] = {}
    for change, until in reigns(changes(list(rows.values()), ledger.acts(name))):
        served.setdefault(change.version, []).append((change.at, until, change.by))
    of = [_version(each, rows, aliases, served) for each in found]
    return sorted(of, key=lambda version: int(version.version))


def _version(found: Any, rows: dict[str, Row], aliases: dict[str, str], served: dict[str, Any]) -> Version:
    tags, number = found.tags, str(found.version)
    row = rows.get(tags.get("flywheel.run", ""))
    return Version(
        version=number,
        span=tags.get("flywheel.span", ""),
        registered=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        aliases=tuple(sorted(alias for alias, at in aliases.items() if str(at) == number)),
        run=tags.get("flywheel.run", ""),
        digest=tags.get("flywheel.digest", ""),
        metric=row.metric if row else "",
        figure=row.figures["candidate"] if row else None,
        reigns=tuple(served.get(number, ())),
        rolled_back=tags.get("flywheel.rolled_back", ""),
    )


def lineage(ledger: Ledger, name: str, version: str = "", code: Path | None = None) -> Lineage:
    """Return where `version` of flywheel `name` comes from, that of the champion by default.

    Args:
        ledger: The ledger.
        name: Name of the flywheel, and of the registered model.
        version: Its number.
        code: Folder of the archives of code; without it, or the archive, the SQL text is not known.

    Raises:
        LedgerError: There is no such version, or no champion yet.
    """
    chosen = version_of(ledger.client, name, version) if version else ledger.champion(name)
    if chosen is None:
        raise LedgerError(f"{name} has no champion yet", "name a version; `flywheel history` lists them.")
    row = _row(ledger, chosen)
    tags = row.tags if row else {}
    archive = tags.get("flywheel.code", "")
    model = _manifest(ledger, name, chosen.version)
    training, data = _training(ledger, model)
    acts = [act for act in ledger.acts(name) if act.version == chosen.version]
    waived = [waiver for waiver in ledger.waivers(name).values() if waiver.span == chosen.span]
    return Lineage(
        model=name,
        version=chosen.version,
        span=chosen.span,
        digest=chosen.digest,
        window=tags.get("flywheel.window", ""),
        judge=tags.get("flywheel.judge", ""),
        data=data | {"warehouse state": tags.get("flywheel.state", "")} | dict(model.get("counts", {})),
        query=_query(code / f"{archive}.zip") if code and archive else "",
        code=archive,
        training=training,
        parents=_parents(ledger, name, row),
        decisions=[*_decisions(ledger, row), *_looks(ledger, name, chosen)],
        by_hand=[str(act) for act in acts if isinstance(act, Act)],
        waivers=[f"{waiver.who or 'nobody named'}, {waiver.at:%Y-%m-%d}: {waiver.reason}" for waiver in waived],
        run=row.run if row else "",
        job=row.job if row else "",
    )


def _row(ledger: Ledger, version: Champion) -> Row | None:
    try:
        return ledger.row(version.run) if version.run else None
    except Missing:
        return None


def _parents(ledger: Ledger, name: str, row: Row | None) -> list[dict[str, str]]:
    """Return the chain of champions that the version, and each of them, was judged against."""
    found: list[dict[str, str]] = []
    seen: set[str] = set()
    while row and (number := row.tags.get("flywheel.champion", "")) and number not in seen:
        seen.add(number)
        try:
            parent = version_of(ledger.client, name, number)
        except Missing:
            found.append({"version": number, "span": "", "digest": "", "note": "it was removed from the registry"})
            break
        found.append({"version": number, "span": parent.span, "digest": parent.digest})
        row = _row(ledger, parent)
    return found


def _decisions(ledger: Ledger, row: Row | None) -> list[dict[str, Any]]:
    """Return what each gate said, with its checks, in the order of the pipeline."""
    gates = ("data", "model", "serving")
    return [_said(ledger, row, gate, gate) for gate in gates if row is not None and gate in row.decisions]


def _looks(ledger: Ledger, name: str, version: Champion) -> list[dict[str, Any]]:
    """Return what later runs said of it as a challenger."""
    if not ledger.client.get_model_version(name, version.version).tags.get(LOOKS):
        return []
    rows = [row for row in ledger.rows(name) if row.challenger.get("version") == version.version]
    return [_said(ledger, row, "challenger", f"challenger, {row.span}") for row in rows]


def _said(ledger: Ledger, row: Row, gate: str, called: str) -> dict[str, Any]:
    said = row.decisions[gate]
    try:
        checks = ledger.verdict(row.run, gate).checks
        counts: dict[str, int | None] = {r: sum(check.result == r for check in checks) for r in _RESULTS}
    except LedgerError:  # the artifact is gone; what the tag says is still known
        counts = dict.fromkeys(_RESULTS)
    return {"gate": called, "ok": said.ok, "why": said.why, "checks": counts}


def _manifest(ledger: Ledger, name: str, version: str) -> dict[str, Any]:
    """Return the manifest of a version's folder; empty when it has none."""
    source = ledger.client.get_model_version(name, version).source
    with tempfile.TemporaryDirectory() as folder:
        try:
            text = ledger.client.download(f"{source}/flywheel.json", Path(folder)).read_text()
        except (LedgerError, OSError):
            return {}
    told = json.loads(text)
    return dict(told) if isinstance(told, dict) else {}


def _training(ledger: Ledger, model: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the training run keeps of how the model was made, and of what data."""
    facts = model.get("facts", {})
    told = {key: facts[key] for key in ("trainer", "framework", "warm_start", "seconds") if key in facts}
    if not (number := facts.get("training_run")):
        return told, {}
    try:
        run = ledger.client.get_run(number)
    except Missing:
        return told | {"run": f"{number}, which was removed"}, {}
    given = run.data.params
    told |= {"run": number, "seed": given.get("seed", ""), "device": given.get("device", "")}
    told["parameters"] = {
        key.removeprefix(_PARAMETER): value for key, value in given.items() if key.startswith(_PARAMETER)
    }
    told["environment"] = {
        key.removeprefix(_ENVIRONMENT): value for key, value in given.items() if key.startswith(_ENVIRONMENT)
    }
    tags = run.data.tags
    names = {"transformed rows": "flywheel.data", "transform": "flywheel.state"}
    return told, {name: tags[tag] for name, tag in names.items() if tag in tags}


def _query(archive: Path) -> str:
    """Return the SQL text that an archive of code holds under the name that its flywheel.yaml gives."""
    import zipfile

    import yaml

    try:
        with zipfile.ZipFile(archive) as files:
            declared = yaml.safe_load(files.read("flywheel.yaml"))
            return files.read(str(declared["source"]["query"])).decode()
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError, zipfile.BadZipFile):
        return ""
