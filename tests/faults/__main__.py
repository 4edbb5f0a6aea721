"""Measure the data gate with the catalogue of faults.

python -m tests.faults                     # July to December, writes docs/faults.md
python -m tests.faults --half tune         # March to June, prints
python -m tests.faults --half tune --fault label_inverted --days 6
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # processes side by side, not threads within them

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from tests.faults import report  # noqa: E402
from tests.faults.catalogue import FAULTS, named  # noqa: E402
from tests.faults.fault import SHARES  # noqa: E402
from tests.faults.harness import measure  # noqa: E402
from tests.faults.results import Results  # noqa: E402
from tests.faults.world import CACHE  # noqa: E402

DOCS = Path(__file__).parents[2] / "docs" / "faults.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=("tune", "report"), default="report", help="days to try (%(default)s)")
    parser.add_argument("--days", type=int, default=14, metavar="N", help="how many of them (%(default)s)")
    parser.add_argument("--fault", action="append", metavar="NAME", help="only this one; may be given again")
    parser.add_argument("--size", action="append", choices=tuple(SHARES), help="only this one; may be given again")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the raw results")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="raw results to report, not measured anew"
    )
    given = parser.parse_args()
    results = Results.from_json(json.loads(given.source.read_text())) if given.source else _measured(given)
    if given.half == "report" and not (given.fault or given.size):
        DOCS.write_text(report.page(results, given.half), encoding="utf-8")
        print(f"wrote {DOCS}")  # noqa: T201
    print("\n\n".join((report.summary(results), report.false_alarms(results, given.half), report.missed(results))))  # noqa: T201


def _measured(given: argparse.Namespace) -> Results:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)  # noqa: T201

    faults = [named(name) for name in given.fault] if given.fault else list(FAULTS)
    results = measure(faults, given.size or tuple(SHARES), given.half, given.days, given.jobs, say)
    file = given.json or CACHE / f"results-{given.half}.json"
    file.write_text(json.dumps(results.to_json()))
    say(f"raw results in {file}")
    return results


if __name__ == "__main__":
    main()
