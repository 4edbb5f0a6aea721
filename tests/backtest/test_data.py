"""What the data gate would have said of a history, looked at once however often it is interrupted."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.backtest.data import judged
from flywheel.profiles.gate import SpanGate
from flywheel.steps.extract import _Copy
from flywheel.workspace import Workspace
from tests.profiles.worlds import day, name_of

DAYS = 12
YAML = """\
name: shop
source:
  warehouse: parquet:///{folder}/rows*/*.parquet
  query: rows.sql
  window: 4
  judge: 2
label: bought
features:
  - {{column: pages, as: numeric}}
train: {{trainer: "flywheel.trainers.boosting:train"}}
"""


@pytest.fixture
def shop(tmp_path):
    """A project with twelve days of rows, on the fourth of which the label is none."""
    (tmp_path / "rows").mkdir()
    for index in range(DAYS):
        faults = {"bought": lambda bought: bought + 7} if index == 3 else {}
        pq.write_table(pa.Table.from_batches(day(index, **faults)), tmp_path / "rows" / f"{name_of(index)}.parquet")
    (tmp_path / "flywheel.yaml").write_text(YAML.format(folder=tmp_path))
    (tmp_path / "rows.sql").write_text("SELECT * FROM rows WHERE at >= @start AND at < @end")
    return Workspace.open(tmp_path)


@pytest.fixture
def done(monkeypatch):
    """The spans that were extracted and judged, in order; a span in `done.stop` is where Ctrl-C comes."""

    class Done:
        extracted, judged, stop = [], [], ""

    judge, read = SpanGate.judge, _Copy._read

    def judge_and_note(self, span, *args, **options):
        if span == Done.stop:
            raise KeyboardInterrupt
        Done.judged.append(span)
        return judge(self, span, *args, **options)

    def read_and_note(self, span):
        Done.extracted.append(span.name)
        return read(self, span)

    monkeypatch.setattr(SpanGate, "judge", judge_and_note)
    monkeypatch.setattr(_Copy, "_read", read_and_note)
    return Done


def saved(gate, file):
    gate.history.save(file)
    return gate.bad, gate.rows, file.read_bytes()


def test_a_look_that_was_interrupted_goes_on_and_finds_the_same(shop, done, tmp_path):
    spans, root = [name_of(index) for index in range(DAYS)], tmp_path / "root"
    whole = saved(judged(shop, spans, tmp_path / "other"), tmp_path / "whole")
    done.judged.clear()
    done.extracted.clear()

    done.stop = spans[7]
    with pytest.raises(KeyboardInterrupt):
        judged(shop, spans, root)
    done.stop = ""
    found = saved(judged(shop, spans, root), tmp_path / "found")

    assert done.judged == spans
    assert sorted(done.extracted) == spans
    assert found == whole
    assert list(whole[0]) == [spans[3]]


def test_a_look_that_was_finished_is_not_repeated_and_a_longer_one_looks_at_what_is_new(shop, done, tmp_path):
    spans = [name_of(index) for index in range(DAYS)]
    (tmp_path / "schema.pbtxt").write_text("# of nothing\n")
    first = judged(shop, spans[:-2], tmp_path / "root")
    done.judged.clear()

    again = judged(shop, spans[:-2], tmp_path / "root")
    assert done.judged == []
    assert again.bad == first.bad

    judged(shop, spans, tmp_path / "root")
    assert done.judged == spans[-2:]


def test_other_bars_are_looked_at_anew(shop, done, tmp_path):
    spans = [name_of(index) for index in range(DAYS)]
    judged(shop, spans, tmp_path / "root")
    done.judged.clear()

    judged(Workspace.open(tmp_path, None, ["gates.data.false_alarms=0.001"]), spans, tmp_path / "root")

    assert done.judged == spans
