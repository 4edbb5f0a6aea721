"""Whether the libraries that are installed go together, as this distribution and they themselves declare it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flywheel.doctor.finding import Finding
from flywheel.workspace import Workspace

OURS = "ai-flywheel"
_TOLD = ("kfp", "tensorflow", "apache-beam", "mlflow")
Installed = Callable[[str], metadata.Distribution | None]


def check(workspace: Workspace) -> Iterator[Finding]:
    """Yield one finding: which family of versions is here, or what does not fit together."""
    wrong = sorted(misfits())
    if wrong:
        more = f"; {len(wrong) - 5} more" if len(wrong) > 5 else ""
        cure = "make an environment of its own: pip install 'ai-flywheel[local]' there, or `make setup` in a checkout."
        yield Finding("versions", "fail", "; ".join(wrong[:5]) + more, cure)
        return
    told = [f"{name} {found.version}" for name in _TOLD if (found := installed(name))]
    python = f"Python {platform.python_version()}"
    yield Finding("versions", "ok", ", ".join([f"flywheel {metadata.version(OURS)}", python, *told]) + " go together")


def installed(name: str) -> metadata.Distribution | None:
    """Return the distribution of that name, None when there is none."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def misfits(find: Installed = installed) -> Iterator[str]:
    """Yield each installed library of ours, or that one of ours needs, whose version is not one that is asked for.

    What an extra would bring and is not there is no misfit: a command that needs it says so.

    Args:
        find: Returns a distribution by its name.
    """
    waiting, seen = [(OURS, frozenset({"", "local"}))], {OURS}
    while waiting:
        name, extras = waiting.pop()
        owner = find(name)
        if owner is None:
            continue
        for text in owner.requires or ():
            wanted = Requirement(text)
            if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
                continue
            key = canonicalize_name(wanted.name)
            if key == OURS:  # an extra of ours that is made of others
                waiting += [(OURS, frozenset(wanted.extras))] if wanted.extras - extras else []
                continue
            there = find(key)
            if there is None:
                if name != OURS or not (wanted.marker and "extra" in str(wanted.marker)):
                    yield f"{name} {owner.version} needs {wanted.name}, which is not installed"
            elif not wanted.specifier.contains(there.version, prereleases=True):
                yield f"{wanted.name} {there.version} is installed, and {name} {owner.version} needs {wanted.specifier}"
            if there is not None and key not in seen:
                seen.add(key)
                waiting.append((key, frozenset({"", *wanted.extras})))
