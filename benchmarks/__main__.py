"""`python -m benchmarks [NAME…]`: measure, write benchmarks/results.json and print a table.

Each module of this folder runs in a process of its own, so that none is warmed by another. Named ones replace their
figures in results.json and leave the others. Exit code 1 when a module failed or a figure missed its bar.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import Figure

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
MEASURE = "import json, sys; from benchmarks.{0} import figures; json.dump(figures(), open(sys.argv[1], 'w'))"


def main(names: list[str]) -> int:
    """Measure the named modules, or all, and return the exit code."""
    known = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no benchmark {', '.join(map(repr, unknown))}: there are {', '.join(known)}", file=sys.stderr)
        return 2
    measured: list[Figure] = []
    failed = []
    for name in names or known:
        found = measure(name)
        measured += found or []
        if found is None:
            failed.append(name)
    write(kept(measured) if names or failed else [], measured)
    show(measured)
    for name in failed:
        print(f"benchmark {name!r} failed: its output is above", file=sys.stderr)
    return int(bool(failed) or not all(each["ok"] for each in measured))


def measure(name: str) -> list[Figure] | None:
    """Return the figures of one module, measured in a fresh process; None when it failed."""
    print(f"measuring {name} …", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "figures.json")
        command = [sys.executable, "-c", MEASURE.format(name), str(path)]
        done = subprocess.run(command, cwd=FOLDER.parent, env={**os.environ, "PYTHONPATH": ""}, check=False)
        return json.loads(path.read_text()) if done.returncode == 0 else None


def kept(measured: list[Figure]) -> list[Figure]:
    """Return the earlier figures that were not measured this time."""
    now = {each["name"] for each in measured}
    earlier: list[Figure] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    return [each for each in earlier if each["name"] not in now]


def write(earlier: list[Figure], measured: list[Figure]) -> None:
    """Replace results.json at one stroke."""
    partial = RESULTS.with_suffix(".partial")
    whole = sorted([*earlier, *measured], key=lambda each: each["name"])
    partial.write_text(json.dumps(whole, indent=2) + "\n")
    partial.replace(RESULTS)


def show(measured: list[Figure]) -> None:
    """Print the figures as a table."""
    table = Table("figure", "value", "peer", "ratio", "bar", "", title="benchmarks")
    for each in measured:
        peer = f"{each['peer_value']:g} {each['unit']} ({each['peer']})" if each["peer_value"] is not None else ""
        table.add_row(
            each["name"],
            f"{each['value']:g} {each['unit']}",
            peer,
            f"{each['ratio']:g}" if each["ratio"] is not None else "",
            each["bar"] if isinstance(each["bar"], str) else f"≤ {each['bar']:g} {each['unit']}" if each["bar"] else "",
            "[green]ok[/]" if each["ok"] else "[red]missed[/]",
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
