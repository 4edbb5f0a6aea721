from datetime import UTC, datetime

from flywheel.cli.table import show
from flywheel.ledger import Decision, Row


def test_no_figure_is_cut_short_however_narrow_the_terminal_is(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "50")
    facts = {"metric": "auc", "candidate": 0.77184, "champion": 0.69791, "baseline": 0.69342}
    decisions = {"data": Decision("data", True, "", {"rows": 38119}), "model": Decision("model", True, "", facts)}
    now = datetime.now(UTC)
    row = Row("run", "2013-06-01", "job", "promoted", "why", decisions, "1", None, None, now, 113.6, "finished", {})

    show([row])

    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("2013-06-01 ")]
    assert line.split() == ["2013-06-01", "38,119", "ok", "ok", "0.7718", "0.6979", "0.6934", "promoted", "v1", "113.6"]
