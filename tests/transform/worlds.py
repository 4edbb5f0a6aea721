"""Random raw rows for the transform, as a query could give them: nulls, NaN, ties, extremes."""

import pyarrow as pa
from hypothesis import strategies as st

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
_VALUES = {
    "count": st.integers(-(2**62), 2**62),
    "share": st.floats(allow_nan=True, allow_infinity=True),
    "weight": st.floats(width=32, allow_nan=True, allow_infinity=True),
    "flag": st.booleans(),
    "word": st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=3),
    "code": st.integers(-5, 5),
}


@st.composite
def batches(draw, least=0, most=30):
    """Rows of SCHEMA, every value but the label's maybe missing."""
    rows = draw(st.integers(least, most))
    columns = [draw(st.lists(st.none() | _VALUES[name], min_size=rows, max_size=rows)) for name in SCHEMA.names[:-1]]
    columns.append([index % 2 for index in range(rows)])
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def learned(*batches) -> State:
    """What the transform learns from batches."""
    analysis = Analysis(FEATURES, "label")
    for batch in batches:
        analysis.add(batch)
    return analysis.finish(SCHEMA)
