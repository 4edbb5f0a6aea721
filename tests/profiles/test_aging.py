from flywheel.profiles import Settings
from flywheel.profiles.aging import drift_since_training
from tests.profiles.worlds import day, gate_after, name_of

SETTINGS = Settings(label="bought")


def drifting(days, a_day):
    """Return a history of ordinary days, and then of days whose prices rise by `a_day` each."""
    made = gate_after(100)
    for index in range(100, 100 + days):
        batches = day(index, price=lambda values, grown=index - 99: values * (1 + a_day * grown))
        made.take(made.judge(name_of(index), batches), batches, waived=True)
    return made.history


def test_what_moved_slowly_away_from_the_champions_data_is_a_warning():
    history = drifting(9, 0.05)
    checks = drift_since_training(history, name_of(108), f"{name_of(60)} to {name_of(87)}", SETTINGS)

    assert [(check.result, check.column) for check in checks] == [("warn", "price")]
    assert "from what the champion was trained on" in checks[0].reason
    assert checks[0].observed > checks[0].bound


def test_what_stayed_is_none_and_neither_is_a_window_that_nobody_remembers():
    history = drifting(9, 0.0)

    assert drift_since_training(history, name_of(108), f"{name_of(60)} to {name_of(87)}", SETTINGS) == []
    assert drift_since_training(history, name_of(108), "2020-01-01 to 2020-01-28", SETTINGS) == []
