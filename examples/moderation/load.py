"""Fill the embedded warehouse with comments to moderate, made up from a few words: 120 a day.

    python load.py [--into FILE]

One table, comments: several labels of each, by moderators who now and then err. Whether it is spam is looked at for
four of five alone. The days are made up, from 2024-01-01 on; the same comments come on the same days each time.
"""

import argparse
import os
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np

FIRST, DAYS, A_DAY = date(2024, 1, 1), 50, 120
WORDS = "the a this that what good nice day photo song game team play like love think really never always place".split()
MARKS = {
    "insult": "idiot stupid loser clown pathetic dumb".split(),
    "spam": "click free winner offer bitcoin subscribe".split(),
    "threat": "kill hurt destroy regret find you".split(),
}
OFTEN = {"insult": 0.2, "spam": 0.12, "threat": 0.05}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parent / ".flywheel" / "warehouse.duckdb"
    parser.add_argument("--into", type=Path, default=default, metavar="FILE", help="DuckDB file to write (%(default)s)")
    into = parser.parse_args().into
    into.parent.mkdir(parents=True, exist_ok=True)
    partial = into.with_name(f".{into.name}.{os.getpid()}")
    given = comments()
    try:
        with duckdb.connect(str(partial)) as warehouse:
            columns = (
                "id VARCHAR, day DATE, country VARCHAR, comment VARCHAR, insult BIGINT, spam BIGINT, threat BIGINT"
            )
            warehouse.execute(f"CREATE TABLE comments ({columns})")
            warehouse.executemany("INSERT INTO comments VALUES (?, ?, ?, ?, ?, ?, ?)", given)
        partial.replace(into)  # whoever reads the old file meanwhile keeps it
    finally:
        partial.unlink(missing_ok=True)
    print(f"filled {into}: {len(given):,} comments from {given[0][1]} to {given[-1][1]}")


def comments() -> list[tuple[object, ...]]:
    """Return id, day, country, text and labels of each comment; None where nobody looked."""
    draw = np.random.default_rng(0)
    countries = draw.choice(["de", "in", "us"], DAYS * A_DAY).tolist()
    return [
        (f"comment-{number:05d}", FIRST + timedelta(days=number // A_DAY), country, *one(draw))
        for number, country in enumerate(countries)
    ]


def one(draw: np.random.Generator) -> tuple[object, ...]:
    """Return a comment and its labels. Marked words stand in others too, and not in all that mean it."""
    words = list(draw.choice(WORDS, draw.integers(4, 12)))
    labels: list[int | None] = []
    for name, marks in MARKS.items():
        means = draw.random() < OFTEN[name]
        count = draw.binomial(3, 0.5) if means else draw.binomial(1, 0.05)
        words += list(draw.choice(marks, count))
        labels.append(int(means if draw.random() < 0.98 else not means))
    if draw.random() < 0.2:
        labels[1] = None
    return " ".join(draw.permutation(words)), *labels


if __name__ == "__main__":
    main()
