"""Changes that a schema needs for the data to pass it, each with its evidence, for a person to accept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flywheel.labels import columns_of
from flywheel.schemas.seen import Past
from flywheel.statistics.schema import ENVIRONMENTS, SERVING

_LEAST_PRESENT = 0.9
_ROOM = 0.25
_SHOWN = 8
KINDS = {1: "BYTES", 2: "INT", 3: "FLOAT", 4: "STRUCT"}


@dataclass(frozen=True)
class Change:
    """One thing that is to stand in the schema otherwise.

    Attributes:
        feature: The column that it is about.
        what: What kind of change: `new`, `gone`, `type`, `values`, `new values`, `presence`, `range`, `environment`.
        evidence: What was seen, and what the schema is to say, in a sentence.
        apply: Makes the change in a schema.
        needed: Whether the data does not pass, or only just, without it; others are offered.
    """

    feature: str
    what: str
    evidence: str
    apply: Callable[[Any], None] = field(compare=False, repr=False)
    needed: bool = True

    def __str__(self) -> str:
        return f"{self.feature}: {self.evidence}"


def propose(given: Any, suggested: Any, past: Mapping[str, Past], label: str) -> list[Change]:
    """Return the changes that would have `given` accept what was seen, in the order of the columns.

    Args:
        given: The project's schema; an empty one proposes everything.
        suggested: The schema that is inferred from the same rows.
        past: What each span brought in each column; those that stand in structs are judged by `suggested` alone.
        label: The column to predict, or columns as `flywheel.labels` joins them; a schema that knows them in serving is
            told otherwise.
    """
    known = {feature.name: feature for feature in given.feature}
    wanted = {feature.name: feature for feature in suggested.feature}
    changes: list[Change] = []
    for name, feature in wanted.items():
        seen = past.get(name, Past({}))
        if name not in known:
            changes.append(_new(name, feature, suggested, seen))
        elif known[name].type != feature.type:
            changes.append(_type(name, known[name].type, feature, suggested))
        else:
            changes += _words(given, known[name], seen)
            changes += _presence(known[name], seen)
            changes += _range(known[name], seen) if name not in columns_of(label) else ()
    changes += [_gone(name) for name in known if name not in wanted]
    for name in columns_of(label):
        if name in wanted and known and not _kept_from_serving(given, name):
            changes.append(Change(name, "environment", "is in SERVING too; requests have no label", _not_served(name)))
    return changes


def apply(given: Any, changes: Iterable[Change]) -> Any:
    """Return `given` with the changes made; it stays as it is itself."""
    schema = type(given).FromString(given.SerializeToString())
    for change in changes:
        change.apply(schema)
    return schema


def _new(name: str, feature: Any, suggested: Any, seen: Past) -> Change:
    words, ends = seen.words(), seen.range
    what = f"new column, {KINDS[feature.type]}"
    if words:
        what += f", {len(words)} different values" + (f": {_list(sorted(words))}" if feature.domain else ", free text")
    elif ends:
        what += f", {ends[0]:g} to {ends[1]:g}"
    if seen.spans:
        what += f"; in {seen.present:.1%} of {seen.rows:,} rows"

    def add(schema: Any) -> None:
        copied = schema.feature.add()
        copied.CopyFrom(feature)
        _copy_domain(feature, suggested, schema)
        for environment in ENVIRONMENTS:
            if environment not in schema.default_environment:
                schema.default_environment.append(environment)

    return Change(name, "new", what, add)


def _type(name: str, was: int, feature: Any, suggested: Any) -> Change:
    def replace(schema: Any) -> None:
        _of(schema, name).CopyFrom(feature)
        _copy_domain(feature, suggested, schema)

    return Change(name, "type", f"is {KINDS[feature.type]} now; the schema says {KINDS.get(was, was)}", replace)


def _gone(name: str) -> Change:
    def remove(schema: Any) -> None:
        domain = _of(schema, name).domain
        kept = [feature for feature in schema.feature if feature.name != name]
        shared = {feature.domain for feature in kept}
        _refill(schema.feature, kept)
        _refill(
            schema.string_domain, [each for each in schema.string_domain if each.name != domain or domain in shared]
        )

    return Change(name, "gone", "the query does not give it any more", remove)


def _words(given: Any, feature: Any, seen: Past) -> list[Change]:
    domain, words = allowed(given, feature), seen.words()
    if domain is None or not words:
        return []
    changes = []
    new = {word: found for word, found in words.items() if word not in set(domain.value)}
    if new:
        shown = [f"{word} ({rows:,} rows, first {span})" for word, (rows, span) in _most(new)]
        more = f" and {len(new) - len(shown)} more" if len(new) > len(shown) else ""
        share = sum(rows for rows, _ in new.values()) / max(1, sum(rows for rows, _ in words.values()))
        said = f"{len(new)} new value{'s' * (len(new) > 1)} in {share:.2%} of the rows: {', '.join(shown)}{more}"

        def add(schema: Any) -> None:
            held = allowed(schema, _of(schema, feature.name))
            held.value.extend(sorted(set(new) - set(held.value)))

        changes.append(Change(feature.name, "values", said, add))
    newcomers = seen.newcomers()
    if newcomers and newcomers[1] > 0 and not feature.distribution_constraints.HasField("min_domain_mass"):
        least = max(0.0, math.floor((1 - 2 * newcomers[1]) * 1000) / 1000)
        said = f"values never seen before were {newcomers[1]:.2%} of {newcomers[0]}: min_domain_mass {least:g}"
        changes.append(Change(feature.name, "new values", said, _set_mass(feature.name, least), needed=False))
    return changes


def _presence(feature: Any, seen: Past) -> list[Change]:
    """Propose a lower share where all rows, or any span at half of it, lack more values than is allowed."""
    if not seen.rows:
        return []
    least, (span, fewest) = feature.presence.min_fraction, seen.fewest
    if seen.present >= least and fewest >= least / 2:
        return []
    new = math.floor(min(seen.present, 2 * fewest) * _LEAST_PRESENT * 1000) / 1000
    said = f"there in {seen.present:.1%} of the rows, in {fewest:.1%} of {span}; the schema asks for {least:g}: {new:g}"

    def lower(schema: Any) -> None:
        presence = _of(schema, feature.name).presence
        presence.min_fraction = new
        if not fewest:
            presence.ClearField("min_count")

    return [Change(feature.name, "presence", said, lower)]


def _range(feature: Any, seen: Past) -> list[Change]:
    ends = seen.range
    if ends is None or feature.WhichOneof("domain_info") not in (None, "int_domain", "float_domain"):
        return []
    low, high = bounds(feature)
    beyond = seen.beyond(low, high)
    if not beyond and (math.isfinite(low) or math.isfinite(high)):
        return []
    new = _with_room(*ends, whole=feature.type == 2)
    new = (low if ends[0] >= low > -math.inf else new[0], high if ends[1] <= high < math.inf else new[1])
    said = f"{ends[0]:g} to {ends[1]:g} in {len(seen.spans)} spans"
    said += f", beyond {low:g} to {high:g} on {_list(beyond)}" if beyond else ", and no range in the schema"

    def widen(schema: Any) -> None:
        _set_range(_of(schema, feature.name), *new)

    return [Change(feature.name, "range", f"{said}: {new[0]:g} to {new[1]:g}", widen, needed=bool(beyond))]


def bounds(feature: Any) -> tuple[float, float]:
    """Return the smallest and largest number that a feature allows; infinite where it says nothing."""
    kind = feature.WhichOneof("domain_info")
    if kind not in ("int_domain", "float_domain"):
        return -math.inf, math.inf
    domain = getattr(feature, kind)
    return (
        float(domain.min) if domain.HasField("min") else -math.inf,
        float(domain.max) if domain.HasField("max") else math.inf,
    )


def _with_room(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """Return a range with a quarter of itself to spare on either side; what counts from zero goes on doing so."""
    room = _ROOM * (high - low or abs(high) or 1.0)
    digits = 10.0 ** math.floor(math.log10(room))
    new_low, new_high = math.floor((low - room) / digits) * digits, math.ceil((high + room) / digits) * digits
    if low >= 0 and (whole or low < room / 4):
        new_low = 0.0
    return (math.floor(new_low), math.ceil(new_high)) if whole else (round(new_low, 12), round(new_high, 12))


def _set_range(feature: Any, low: float, high: float) -> None:
    if feature.type == 2:
        feature.int_domain.min, feature.int_domain.max = int(low), int(high)
    else:
        feature.float_domain.min, feature.float_domain.max = low, high


def _set_mass(name: str, least: float) -> Callable[[Any], None]:
    def loosen(schema: Any) -> None:
        _of(schema, name).distribution_constraints.min_domain_mass = least

    return loosen


def _not_served(label: str) -> Callable[[Any], None]:
    def tell(schema: Any) -> None:
        missing = [each for each in ENVIRONMENTS if each not in schema.default_environment]
        schema.default_environment.extend(missing)
        _of(schema, label).not_in_environment.append(SERVING)

    return tell


def _kept_from_serving(schema: Any, label: str) -> bool:
    feature = next((each for each in schema.feature if each.name == label), None)
    return feature is None or SERVING in feature.not_in_environment


def _copy_domain(feature: Any, source: Any, target: Any) -> None:
    if feature.domain and all(each.name != feature.domain for each in target.string_domain):
        target.string_domain.add().CopyFrom(next(each for each in source.string_domain if each.name == feature.domain))


def allowed(schema: Any, feature: Any) -> Any:
    """Return the words that a feature allows, its own or those that it names; None when it allows all."""
    if feature.HasField("string_domain"):
        return feature.string_domain
    return next((each for each in schema.string_domain if feature.domain and each.name == feature.domain), None)


def _of(schema: Any, name: str) -> Any:
    return next(feature for feature in schema.feature if feature.name == name)


def _refill(field: Any, kept: Sequence[Any]) -> None:
    copies = [type(each).FromString(each.SerializeToString()) for each in kept]
    del field[:]
    field.extend(copies)


def _most(words: Mapping[str, tuple[int, str]]) -> list[tuple[str, tuple[int, str]]]:
    return sorted(words.items(), key=lambda each: (-each[1][0], each[0]))[:_SHOWN]


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
