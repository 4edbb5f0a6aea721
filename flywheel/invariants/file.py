"""invariants.yaml: a list of what is held to be true, reviewed and committed like the schema."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flywheel.errors import ConfigError
from flywheel.invariants.columns import FILE
from flywheel.invariants.rules import Determines, Invariant, Ordered, Sum, Unique

if TYPE_CHECKING:
    from collections.abc import Callable

_FORMS = {
    "unique": "{unique: [flight, carrier, departs]}",
    "determines": "{determines: {by: [origin, dest], column: distance}}",
    "ordered": "{ordered: [departs, arrives]}",
    "sum": "{sum: {of: [fare, tax], is: total}}",
}
_BESIDE = ("tolerance", "why")


def read(archive: Path) -> tuple[Invariant, ...]:
    """Return the invariants at the root of a project's archive; none when it has no such file.

    Raises:
        ConfigError: The file is wrong; the message names the line.
    """
    with zipfile.ZipFile(archive) as source:
        if FILE not in source.namelist():
            return ()
        return parse(source.read(FILE).decode("utf-8", "replace"))


def load(folder: Path) -> tuple[Invariant, ...]:
    """Return the invariants of a project's folder; none when it has no such file.

    Raises:
        ConfigError: The file is wrong; the message names the line.
    """
    file = folder / FILE
    return parse(file.read_text("utf-8", "replace")) if file.is_file() else ()


def parse(text: str) -> tuple[Invariant, ...]:
    """Return the invariants that `text`, YAML, declares.

    Raises:
        ConfigError: It is no YAML, or no list of invariants, or has one twice; the message names the line.
    """
    try:
        tree, values = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # the latter for 2013-02-30, a date that there is not
        raise ConfigError(f"{FILE} is not YAML: {error}", "mend it at that line.") from None
    if values is None:
        return ()
    if not isinstance(values, list):
        raise ConfigError(f"{FILE} holds {type(values).__name__}, not a list", f"begin with `- {_FORMS['unique']}`.")
    found: dict[str, int] = {}
    rules = []
    for value, node in zip(values, getattr(tree, "value", ()), strict=True):
        line = node.start_mark.line + 1
        try:
            rules.append(from_dict(value))
        except ConfigError as error:
            raise ConfigError(f"{FILE}, line {line}: {error.message}", error.remedy) from None
        first = found.setdefault(str(rules[-1]), line)
        if first != line:
            raise ConfigError(f"{FILE}, line {line}: {rules[-1]} stands in line {first} too", "take one of them out.")
    return tuple(rules)


def dump(invariants: Iterable[Invariant]) -> str:
    """Return the text of an invariants.yaml that declares `invariants`."""
    entries = [
        yaml.safe_dump([to_dict(rule)], sort_keys=False, default_flow_style=None, width=118, allow_unicode=True)
        for rule in invariants
    ]
    return "".join(entries)


def to_dict(rule: Invariant) -> dict[str, Any]:
    """Return an invariant as invariants.yaml has it."""
    beside = {"tolerance": rule.tolerance, "why": rule.why}
    return rule.to_dict() | {key: value for key, value in beside.items() if value}


def from_dict(value: Any) -> Invariant:
    """Return the invariant that a list entry of invariants.yaml declares.

    Raises:
        ConfigError: It is none; the message names the key.
    """
    kinds = [key for key in value if key in _FORMS] if isinstance(value, Mapping) else []
    if len(kinds) != 1:
        raise ConfigError(f"{_short(value)} is no invariant", f"write one of {', '.join(_FORMS.values())}.")
    kind = kinds[0]
    unknown = [str(key) for key in value if key not in (kind, *_BESIDE)]
    if unknown:
        raise ConfigError(f"{unknown[0]}: unknown key", f"beside {kind} stand {' and '.join(_BESIDE)}, if any.")
    tolerance, why = value.get("tolerance", 0.0), value.get("why", "")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise ConfigError(f"tolerance is {tolerance!r}", "write a share of rows, from 0 to below 1, as 0.001.")
    if not isinstance(why, str):
        raise ConfigError(f"why is {_short(why)}", "write a sentence.")
    return _MAKERS[kind](value[kind], float(tolerance), why)


def _unique(value: Any, tolerance: float, why: str) -> Invariant:
    return Unique(_columns(value, "unique", 1), tolerance, why)


def _determines(value: Any, tolerance: float, why: str) -> Invariant:
    by, column = _two(value, "determines", "by", "column")
    (determined,) = _columns([column], "determines", 1)
    keys = _columns(by, "determines", 1)
    if determined in keys:
        raise ConfigError(f"determines: {determined!r} stands in `by` too", "a column determines itself: take it out.")
    return Determines(keys, determined, tolerance, why)


def _ordered(value: Any, tolerance: float, why: str) -> Invariant:
    columns = _columns(value, "ordered", 2)
    if len(columns) != 2:
        raise ConfigError(f"ordered: {len(columns)} columns", "write two, the lower one first; more make more orders.")
    return Ordered((columns[0], columns[1]), tolerance, why)


def _sum(value: Any, tolerance: float, why: str) -> Invariant:
    of, total = _two(value, "sum", "of", "is")
    parts, (column,) = _columns(of, "sum", 2), _columns([total], "sum", 1)
    if column in parts:
        raise ConfigError(f"sum: {column!r} stands in `of` too", "name the column that holds the sum in `is` alone.")
    return Sum(parts, column, tolerance, why)


_MAKERS: dict[str, Callable[[Any, float, str], Invariant]] = {
    "unique": _unique,
    "determines": _determines,
    "ordered": _ordered,
    "sum": _sum,
}


def _columns(value: Any, kind: str, least: int) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) < least or not all(isinstance(name, str) and name for name in value):
        raise ConfigError(f"{kind}: {_short(value)} does not name its columns", f"write {_FORMS[kind]}.")
    twice = sorted({name for name in value if value.count(name) > 1})
    if twice:
        raise ConfigError(f"{kind}: the column {twice[0]!r} stands twice", "name it once.")
    return tuple(value)


def _two(value: Any, kind: str, first: str, second: str) -> tuple[Any, Any]:
    if not isinstance(value, Mapping) or set(value) != {first, second}:
        raise ConfigError(f"{kind}: {_short(value)} needs `{first}` and `{second}`", f"write {_FORMS[kind]}.")
    return value[first], value[second]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
