"""Random raw rows for the transform, as a query could give them: nulls, NaN, ties, extremes, every type of column."""

import io
import textwrap
from datetime import datetime

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from PIL import Image

from flywheel.archive import pack
from flywheel.transform.analysis import Analysis
from flywheel.transform.state import State

SCHEMA = pa.schema(
    [
        ("count", pa.int64()),
        ("share", pa.float64()),
        ("weight", pa.float32()),
        ("flag", pa.bool_()),
        ("word", pa.string()),
        ("code", pa.int32()),
        ("label", pa.int64()),
    ]
)
FEATURES = [
    {"column": "count", "as": "numeric"},
    {"column": "share", "as": "bucket", "quantiles": 4},
    {"column": "weight", "as": "numeric"},
    {"column": "flag", "as": "category", "top": 5},
    {"column": "word", "as": "category", "top": 3},
    {"column": "code", "as": "category", "top": 3},
]
WIDE = pa.schema(
    [
        *list(SCHEMA)[:-1],
        ("text", pa.string()),
        ("when", pa.timestamp("us")),
        ("day", pa.date32()),
        ("tags", pa.list_(pa.string())),
        ("codes", pa.list_(pa.int64())),
        ("vector", pa.list_(pa.float32())),
        ("photo", pa.binary()),
        ("label", pa.int64()),
    ]
)
EVERY_KIND = [
    *FEATURES,
    {"name": "log", "column": "count", "as": "numeric", "scale": "log", "missing": "indicator"},
    {"name": "part", "column": "share", "as": "numeric", "scale": "min_max", "clip": [-1, 1], "missing": "zero"},
    {"name": "plain", "column": "weight", "as": "numeric", "scale": "none", "missing": -3},
    {"name": "range", "column": "weight", "as": "bucket", "boundaries": [-1, 0, 2.5]},
    {"name": "common", "column": "word", "as": "category", "minimum": 2, "oov": 3},
    {"name": "hashed", "column": "word", "as": "hash", "buckets": 7},
    {"name": "hashed_number", "column": "share", "as": "hash", "buckets": 7},
    {"columns": ["word", "code", "flag"], "as": "cross", "buckets": 11},
    {"column": "tags", "as": "list", "length": 2},
    {"name": "codes_hot", "column": "codes", "as": "multi_hot", "top": 3},
    {"name": "pieces", "column": "text", "as": "multi_hot", "separator": "a"},
    {"column": "text", "as": "text", "length": 3},
    {"name": "runs", "column": "text", "as": "ngrams", "ngrams": 3, "buckets": 13},
    {"column": "when", "as": "timestamp"},
    {"column": "day", "as": "timestamp", "parts": ["weekday"]},
    {"column": "vector", "as": "embedding", "dim": 2},
    {"column": "photo", "as": "image", "height": 2, "width": 3, "channels": 1},
    {"name": "ratio", "columns": ["share", "count"], "function": "features:ratio", "as": "numeric"},
    {"name": "initial", "columns": ["text"], "function": "features:initial", "as": "category"},
    {"name": "hour", "columns": ["when", "tags"], "function": "features:hour", "as": "bucket", "quantiles": 3},
]
FUNCTIONS = """
    import pyarrow as pa
    import pyarrow.compute as pc

    from arithmetic import over

    def ratio(batch):
        return over(*batch.columns)

    def initial(batch):
        return pc.utf8_slice_codeunits(batch.columns[0], 0, 1)

    def hour(batch):
        import arithmetic

        when, tags = batch.columns
        return arithmetic.plus(pc.hour(when), pc.fill_null(pc.list_value_length(tags), 0))
"""
ARITHMETIC = """
    import pyarrow.compute as pc

    def over(one, other):
        return pc.divide(one, other)

    def plus(one, other):
        return pc.add(one, other)
"""


def photo(height: int = 4, width: int = 4, seed: int = 0) -> bytes:
    """A small PNG."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


_ROWS = {
    "count": [3, None, 5, 2**60, 1],
    "share": [0.1, 0.7, None, -2.0, 1.0],
    "weight": [0.1, 2.5, 1.0, None, 3.0],
    "flag": [True, None, False, True, True],
    "word": ["a", "é", "a", None, "ß"],
    "code": [3, None, 1, 1, 2],
    "text": ["A b", "", None, "a-A", "x y z a"],
    "when": [0, None, -1, 10**15, 1_370_000_000_123_456],
    "day": [0, 1, None, 15_000, 16_000],
    "tags": [["a", None], [], None, ["b", "a", "c"], ["é"]],
    "codes": [[1, 2], [2**40], None, [], [1, 1]],
    "vector": [[0.1, 0.2], [1.0, 2.0], None, [3.0, 4.0], [5.0, 6.0]],
    "photo": [photo(), photo(2, 3, 1), None, photo(), photo(7, 5, 2)],
    "label": [0, 1, 0, 1, 0],
}
WINDOW = pa.RecordBatch.from_arrays([pa.array(_ROWS[field.name], field.type) for field in WIDE], schema=WIDE)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=3)
_FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)
_VALUES = {
    "count": st.integers(-(2**62), 2**62),
    "share": st.floats(allow_nan=True, allow_infinity=True),
    "weight": _FLOATS,
    "flag": st.booleans(),
    "word": _TEXTS,
    "code": st.integers(-5, 5),
    "text": st.text("aAbB é\u0130ß-_1١\u3000\u00a0🙂", max_size=12) | _TEXTS,
    "when": st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
    "day": st.dates(),
    "tags": st.lists(st.none() | _TEXTS, max_size=4),
    "codes": st.lists(st.none() | st.integers(-(2**40), 2**40), max_size=4),
    "vector": st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2),
    "photo": st.sampled_from([photo(), photo(2, 3, 1), photo(7, 5, 2)]),
}


@st.composite
def batches(draw, least=0, most=30, schema=SCHEMA):
    """Rows of `schema`, every value but the label's maybe missing."""
    rows = draw(st.integers(least, most))
    columns = [draw(st.lists(st.none() | _VALUES[name], min_size=rows, max_size=rows)) for name in schema.names[:-1]]
    columns.append([index % 2 for index in range(rows)])
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def learned(*batches, features=FEATURES, code=None) -> State:
    """What the transform learns from batches."""
    analysis = Analysis(features, "label")
    for batch in batches:
        analysis.add(batch, code)
    return analysis.finish(batches[0].schema)


def functions_in(folder, **files):
    """An archive with the feature functions, or with `files`, modules by their names."""
    folder.mkdir(parents=True)
    for name, text in (files or {"features": FUNCTIONS, "arithmetic": ARITHMETIC}).items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text).lstrip())
    return pack(folder, folder.parent / "archives")
