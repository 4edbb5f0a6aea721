"""Fill the embedded warehouse with photos to moderate: scikit-learn's handwritten digits as PNG files, 45 a day.

    python load.py [--into FILE]

One table, photos. The days are made up, from 2024-01-01 on; the same photos come on the same days each time.
"""

import argparse
import io
import os
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

FIRST, A_DAY = date(2024, 1, 1), 45


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parent / ".flywheel" / "warehouse.duckdb"
    parser.add_argument("--into", type=Path, default=default, metavar="FILE", help="DuckDB file to write (%(default)s)")
    into = parser.parse_args().into
    into.parent.mkdir(parents=True, exist_ok=True)
    partial = into.with_name(f".{into.name}.{os.getpid()}")
    given = photos()
    try:
        with duckdb.connect(str(partial)) as warehouse:
            warehouse.execute("CREATE TABLE photos (id VARCHAR, taken DATE, digit BIGINT, photo BLOB)")
            warehouse.executemany("INSERT INTO photos VALUES (?, ?, ?, ?)", given)
        partial.replace(into)  # whoever reads the old file meanwhile keeps it
    finally:
        partial.unlink(missing_ok=True)
    print(f"filled {into}: {len(given):,} photos from {given[0][1]} to {given[-1][1]}")


def photos() -> list[tuple[str, date, int, bytes]]:
    """Return name, day, digit and file of each photo, in the order in which they came, which is drawn by lot."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    days = [FIRST + timedelta(days=place // A_DAY) for place in range(len(order))]
    return [
        (f"photo-{number:04d}", day, int(digits.target[number]), png(digits.images[number]))
        for number, day in zip(order, days, strict=True)
    ]


def png(pixels: np.ndarray) -> bytes:
    """Return a picture of brightness 0 to 16 as a PNG file."""
    written = io.BytesIO()
    Image.fromarray(np.clip(pixels * 16, 0, 255).astype(np.uint8), "L").save(written, "png")
    return written.getvalue()


if __name__ == "__main__":
    main()
