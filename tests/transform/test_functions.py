"""Feature functions: called alike everywhere, kept apart, and explained when they are wrong."""

from dataclasses import replace

import pyarrow as pa
import pytest

from flywheel.errors import DataError
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.code import Code
from flywheel.transform.functions import FeatureFunction
from flywheel.transform.numbers import Numeric
from tests.transform.worlds import functions_in, learned

X = pa.array([1.0, 2.0, None, 4.0])
FEATURE = Numeric(name="made", columns=("x",), types=("double",), function="features:make", result="double")


def function(tmp_path, text, **files):
    code = Code.of(functions_in(tmp_path / "code", features=text, **files))
    return FeatureFunction(FEATURE, code)


def body(line):
    return f"import pyarrow as pa\nimport pyarrow.compute as pc\ndef make(batch):\n    x, = batch.columns\n    {line}\n"


def test_two_versions_of_one_module_name_do_not_mix(tmp_path):
    calls = []
    for version in (1, 2):
        text = "def make(batch):\n    import other\n    return other.times(batch.columns[0])\n"
        other = f"import pyarrow.compute as pc\ndef times(x):\n    return pc.multiply(x, {version}.0)\n"
        code = Code.of(functions_in(tmp_path / f"code{version}", features=text, other=other))
        calls.append(FeatureFunction(FEATURE, code))

    for _ in range(2):
        found = [call([X], BadRows(4, refuse=True)).to_pylist() for call in calls]
        assert found == [[1.0, 2.0, None, 4.0], [2.0, 4.0, None, 8.0]]


def test_packages_and_relative_imports_of_the_project_are_found_and_nothing_leaks(tmp_path):
    import sys

    folder = tmp_path / "code"
    (folder / "parts" / "deep").mkdir(parents=True)
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "deep" / "__init__.py").write_text("from ..factor import FACTOR\nimport parts.factor\n")
    (folder / "parts" / "factor.py").write_text("FACTOR = 3.0\n")
    (folder / "features.py").write_text(
        "import parts.deep\nfrom parts import factor\nimport pyarrow.compute as pc\n"
        "def make(batch):\n    return pc.multiply(batch.columns[0], parts.deep.FACTOR + factor.FACTOR)\n"
    )
    from flywheel.archive import pack

    path = list(sys.path)
    call = FeatureFunction(FEATURE, Code.of(pack(folder, tmp_path / "archives")))

    assert call([X], BadRows(4, refuse=True)).to_pylist() == [6.0, 12.0, None, 24.0]
    assert sys.path == path
    assert not {"features", "parts", "parts.factor"} & set(sys.modules)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (body("return x.to_pylist()"), r"gives 'list', not an Arrow array(.|\n)*return pa.array"),
        (body("return x.slice(0, 3)"), r"gives 3 values for 4 rows(.|\n)*one value for each row"),
        (body("return pa.array(['a'] * len(x))"), r"gives 'string' for some rows and 'double' for others"),
        (body("raise ValueError('no')"), r"fails on every row at features.py:5: ValueError: no"),
    ],
)
def test_a_wrong_function_is_explained(tmp_path, text, said):
    call = function(tmp_path, text)
    call._feature = replace(FEATURE, result="" if "raise" in text else "double")

    with pytest.raises(DataError, match=said):
        call([X], BadRows(4))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("featurs:make", "", r"there is no featurs.py in the project(.|\n)*features.py"),
        ("features:mak", "def make(batch): pass", r"no function 'mak'(.|\n)*did you mean 'make'"),
        ("features:make", "import nowhere", r"cannot be imported at features.py:1: ModuleNotFoundError"),
        ("features:make", "def make(:", r"cannot be imported at features.py:1: SyntaxError"),
    ],
)
def test_a_function_that_is_not_there_is_named(tmp_path, name, text, said):
    code = Code.of(functions_in(tmp_path / "code", features=text))

    with pytest.raises(DataError, match=said):
        code.find(name)


def test_rows_on_which_a_function_raises_are_told_and_the_others_kept(tmp_path):
    call = function(tmp_path, body("return pa.array([1 / v if v is not None else None for v in x.to_pylist()])"))
    bad = BadRows(5)
    made = call([pa.array([1.0, 0.0, 2.0, None, 0.0])], bad)

    assert made.to_pylist() == [1.0, None, 0.5, None, None]
    said = "its function fails at features.py:5: ZeroDivisionError: float division by zero"
    assert bad.reasons == {1: ("made", said), 4: ("made", said)}


def test_in_serving_such_a_row_is_an_error_that_says_which(tmp_path):
    call = function(tmp_path, body("return pa.array([1 / v for v in x.to_pylist()])"))

    with pytest.raises(DataError, match=r"row 1 cannot be transformed: 'made': its function fails at features\.py:5"):
        call([pa.array([1.0, 0.0])], BadRows(2, refuse=True))


def test_a_function_that_fails_nearly_always_is_said_at_once(tmp_path):
    call = function(tmp_path, body("return pa.array([1 / v for v in x.to_pylist()])"))

    with pytest.raises(DataError, match=r"fails on most rows at features.py:5: ZeroDivisionError"):
        call([pa.array([0.0] * 5000)], BadRows(5000))


def test_a_function_that_looks_at_other_rows_is_refused_when_it_learns(tmp_path):
    text = body("return pc.subtract(x, pc.mean(x))")
    code = functions_in(tmp_path / "code", features=text)

    with pytest.raises(DataError, match=r"not row-wise: row 0 gives 0.0 alone and -1.3(.|\n)*belongs in the query"):
        FeatureFunction(FEATURE, Code.of(code)).check([X])


def test_what_a_function_gives_has_to_fit_the_kind(tmp_path):
    code = functions_in(tmp_path / "code", features=body("return pa.array(['a'] * len(x))"))
    rows = pa.RecordBatch.from_arrays([X, pa.array([0, 1, 0, 1])], ["x", "label"])
    spec = {"name": "made", "columns": ["x"], "function": "features:make", "as": "numeric"}

    with pytest.raises(DataError, match=r"gives 'string', not for 'numeric' to read(.|\n)*choose another `as`"):
        learned(rows, features=[spec], code=code)
