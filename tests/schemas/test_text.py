import pytest

from flywheel.errors import ConfigError
from flywheel.schemas import dump, has_comments, load, parse, write

TEXT = 'feature {\n  name: "late"\n  type: INT\n}\n'


def test_a_schema_is_read_and_written_as_it_stands(tmp_path):
    file = write(tmp_path, TEXT)

    assert dump(load(tmp_path)) == file.read_text() == TEXT
    assert [path.name for path in tmp_path.iterdir()] == ["schema.pbtxt"]


def test_a_project_need_not_have_one(tmp_path):
    assert load(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT.replace("type", "tipe"), "schema.pbtxt, line 3: .*no field named .tipe.*it says 'tipe: INT'"),
        (TEXT.replace("INT", "INTEGER"), "schema.pbtxt, line 3: .*INTEGER"),
        (TEXT.replace("}", ""), "schema.pbtxt"),
        ("<html>", "schema.pbtxt, line 1"),
    ],
)
def test_what_is_no_schema_is_named_with_its_line(text, said):
    with pytest.raises(ConfigError, match=said) as raised:
        parse(text)
    assert "mend it there" in raised.value.remedy


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TEXT, False),
        ("# why\n" + TEXT, True),
        (TEXT.replace("INT", "INT # 0 or 1"), True),
        (TEXT.replace("late", "l#"), False),
    ],
)
def test_comments_are_seen_and_a_sharp_within_quotes_is_none(text, found):
    assert has_comments(text) is found
