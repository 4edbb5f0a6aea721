"""The picture of a version's lineage: what it was made of from left to right, the champions before it underneath."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.reports import Section, join, page, paragraph, table

if TYPE_CHECKING:
    from markupsafe import Markup

    from flywheel.ledger.lineage import Lineage

_BOX, _GAP, _LINE, _PAD, _CHARACTERS = 158, 26, 17, 10, 22
_PARENTS, _LINES = 6, 7


@dataclass(frozen=True)
class _Box:
    title: str
    lines: Sequence[str]
    tone: str = "plain"

    @property
    def wrapped(self) -> list[str]:
        parts = [part for line in self.lines if line for part in textwrap.wrap(line, _CHARACTERS)]
        return parts if len(parts) <= _LINES else [*parts[: _LINES - 1], f"{parts[_LINES - 1][: _CHARACTERS - 2]} …"]

    @property
    def height(self) -> int:
        return 2 * _PAD + _LINE * (1 + len(self.wrapped))


def lineage_page(found: Lineage) -> str:
    """Return the lineage of a version as one HTML file."""
    decisions = [
        {"gate": said["gate"], "passed": "yes" if said["ok"] else "no", "why": said["why"], **said["checks"]}
        for said in found.decisions
    ]
    training = {key: value for key, value in found.training.items() if not isinstance(value, dict)}
    more = {**found.training.get("parameters", {}), **found.training.get("environment", {})}
    by_hand = [*found.by_hand, *(f"waived by {waiver}" for waiver in found.waivers)]
    sections = [
        Section("Where it comes from", picture(found)),
        Section("Decisions", join(table(decisions), *map(paragraph, by_hand)) if decisions else "none is known"),
        Section("Training", table([{"what": key, "value": str(value)} for key, value in {**training, **more}.items()])),
        Section("SQL", _code(found.query), collapsed=True),
    ]
    facts = {"span": found.span, "trained on": found.window, "judged on": found.judge, "rows": found.data.get("rows")}
    return page(f"Version {found.version} of {found.model}", sections, subtitle=found.digest, facts=facts)


def picture(found: Lineage) -> Markup:
    """Return it as SVG that takes the page's colours."""
    from markupsafe import Markup

    rows = found.data.get("rows")
    gates = {
        said["gate"]: _Box(f"gate: {said['gate']}", [said["why"]], "pass" if said["ok"] else "fail")
        for said in found.decisions
    }
    before = [gates.pop("data")] if "data" in gates else []  # it stands before the training, the others after
    made = [
        _Box(
            "SQL and rows",
            [
                found.window,
                f"{rows:,} rows" if isinstance(rows, int) else "",
                _short(found.data.get("transformed rows", "")),
            ],
        ),
        *before,
        _Box("code", [found.code[:16], str(found.training.get("trainer", ""))]),
        _Box("training", [str(found.training.get("framework", "")), str(found.training.get("warm_start", ""))]),
        *gates.values(),
        _Box(
            f"version {found.version}",
            [found.span, _short(found.digest), *([] if not found.by_hand else ["by hand"])],
            "now",
        ),
    ]
    shown = found.parents[:_PARENTS]
    older = [_Box(f"version {each['version']}", [each["span"]]) for each in reversed(shown)]
    if len(found.parents) > len(shown):
        older.insert(0, _Box("earlier", [f"{len(found.parents) - len(shown)} more champions"]))
    top = max(box.height for box in made)
    drawn = [*_row(made, 0), *_row(older, top + 60)]
    width = max(len(made), len(older)) * (_BOX + _GAP) - _GAP
    bottom = top + (60 + max(box.height for box in older) if older else 0)
    if older:
        drawn.append(f'<text x="0" y="{top + 46}" class="faint">before it, each judged against the one before</text>')
    style = (
        "<style>.lin{display:block;width:100%;min-width:720px}"
        ".lin rect{fill:var(--box);stroke:var(--line)}.lin .pass rect{stroke:var(--pass)}"
        ".lin .fail rect{stroke:var(--fail)}.lin .now rect{stroke:var(--now);stroke-width:2}"
        ".lin text{fill:var(--ink);font-size:13px}.lin .faint{fill:var(--muted);font-size:12px}"
        ".lin path{stroke:var(--muted);fill:none}</style>"
    )
    head = Markup(
        '<div class="scroll"><svg class="lin" role="img" aria-label="{}" style="max-width:{}px" viewBox="-2 -2 {} {}">'
    )
    alt = f"version {found.version}: rows, code, training, gates"
    return head.format(alt, width + 4, width + 4, bottom + 4) + Markup(style + "".join(drawn) + "</svg></div>")


def _row(boxes: Iterable[_Box], y: int) -> list[str]:
    from markupsafe import escape

    drawn = []
    for index, box in enumerate(boxes):
        x = index * (_BOX + _GAP)
        if index:
            drawn.append(f'<path d="M{x - _GAP + 3} {y + 22}H{x - 4}m-6 -4l6 4l-6 4"/>')
        text = [f'<text x="{x + _PAD}" y="{y + _PAD + 13}" font-weight="600">{escape(box.title)}</text>']
        text += [
            f'<text class="faint" x="{x + _PAD}" y="{y + _PAD + 13 + _LINE * (line + 1)}">{escape(said)}</text>'
            for line, said in enumerate(box.wrapped)
        ]
        frame = f'<rect x="{x}" y="{y}" width="{_BOX}" height="{box.height}" rx="8"/>'
        drawn.append(f'<g class="{box.tone}">{frame}{"".join(text)}</g>')
    return drawn


def _code(text: str) -> Markup:
    from markupsafe import Markup

    if not text:
        return paragraph("Not known: its archive of code is not here.")
    return Markup('<div class="scroll"><pre style="margin:12px"><code>{}</code></pre></div>').format(text)


def _short(digest: object) -> str:
    return str(digest).removeprefix("sha256:")[:16]
