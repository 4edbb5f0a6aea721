"""Who is told what when the state changes, and what happens when they cannot be."""

import base64

import pytest
from pydantic import ValidationError

from flywheel.artifacts import Check, Verdict
from flywheel.config import Notify
from flywheel.ledger import Ledger
from flywheel.monitoring.notify import notify
from flywheel.steps.conclude import conclude
from tests.stand_ins.notify import Mail, Web
from tests.stores import ledger_in

SECRETS = {"SLACK_WEBHOOK": "", "GITHUB_TOKEN": "t0ken", "SMTP_USER": "me", "SMTP_PASSWORD": "s3cret"}


@pytest.fixture
def ledger(tmp_path):
    return Ledger(ledger_in(tmp_path))


@pytest.fixture
def web():
    with Web() as server:
        yield server


def tell(ledger, web, state, channels, why="because", kind="ledger", **secrets):
    settings = Notify.model_validate({"channels": channels, "link": "https://kfp/runs/{job}"})
    news = {"name": "flights", "state": state, "span": "2013-06-01", "why": why, "job": "job-1"}
    environ = SECRETS | {"SLACK_WEBHOOK": f"{web.url}/hook"} | secrets
    return notify(ledger, settings, kind, news, environ)


def test_a_webhook_is_told_each_change_once_with_reason_and_link(ledger, web):
    slack = [{"to": "slack"}]
    for state in ("ok", "failed", "failed", "data-rejected", "ok", "ok"):
        tell(ledger, web, state, slack)

    texts = [body["text"] for body in web.hooked]
    assert texts == [
        ":warning: flights: training is failed, span 2013-06-01\nbecause\nhttps://kfp/runs/job-1",
        ":warning: flights: training is data-rejected (was failed), span 2013-06-01\nbecause\nhttps://kfp/runs/job-1",
        ":white_check_mark: flights: training is ok (was data-rejected), span 2013-06-01\nbecause\n"
        "https://kfp/runs/job-1",
    ]


def test_training_and_monitoring_have_states_of_their_own(ledger, web):
    slack = [{"to": "slack"}]
    tell(ledger, web, "alert", slack, kind="monitor")
    tell(ledger, web, "ok", slack)
    tell(ledger, web, "alert", slack, kind="monitor")

    assert [body["text"].splitlines()[0] for body in web.hooked] == [
        ":warning: flights: monitoring is alert, span 2013-06-01"
    ]


def test_an_issue_is_opened_commented_on_and_closed(ledger, web):
    github = [{"to": "github", "repository": "me/mine", "api": f"{web.url}/api"}]
    for state in ("failed", "data-rejected", "ok", "failed"):
        tell(ledger, web, state, github)

    first, second = web.issues.values()
    assert first["title"] == "flights: training is failed, span 2013-06-01"
    assert first["labels"] == ["flywheel"]
    assert (first["state"], len(first["comments"])) == ("closed", 2)
    assert (second["state"], second["comments"]) == ("open", [])


def test_mail_goes_to_all_recipients_with_the_user_of_the_environment(ledger, web):
    with Mail() as mail:
        channel = {"to": "email", "server": mail.address, "sender": "flywheel@example.org", "tls": False}
        channel |= {"recipients": ["a@example.org", "b@example.org"], "user": "SMTP_USER", "password": "SMTP_PASSWORD"}
        tell(ledger, web, "failed", [channel], why="label has nulls")

    ((recipients, message),) = mail.got
    assert recipients == ["a@example.org", "b@example.org"]
    assert message["Subject"] == "flights: training is failed, span 2013-06-01"
    assert "label has nulls" in message.get_content()
    assert base64.b64decode(mail.logins[0]) == b"\0me\0s3cret"


def test_who_cannot_be_reached_is_told_by_the_next_run_and_no_secret_is_printed(ledger, web, capsys):
    web.down = True
    assert tell(ledger, web, "failed", [{"to": "slack"}]) == []
    assert "slack is not notified, the next run tries again: it answered 503" in capsys.readouterr().out
    assert tell(ledger, web, "failed", [{"to": "slack"}], SLACK_WEBHOOK="") == []
    assert tell(ledger, web, "failed", [{"to": "slack"}], SLACK_WEBHOOK="http://127.0.0.1:9/s3cret") == []
    assert tell(ledger, web, "failed", [{"to": "slack"}], SLACK_WEBHOOK="file:///etc/passwd") == []
    said = capsys.readouterr().out
    assert "the environment variable SLACK_WEBHOOK is not set" in said
    assert "s3cret" not in said
    assert web.url not in said

    web.down = False
    assert tell(ledger, web, "failed", [{"to": "slack"}]) == ["slack"]


def test_one_channel_that_fails_keeps_no_other_from_being_told(ledger, web):
    channels = [
        {"to": "github", "repository": "me/mine", "api": f"{web.url}/api"},
        {"to": "slack"},
    ]

    assert tell(ledger, web, "failed", channels, GITHUB_TOKEN="wrong") == ["slack"]
    assert tell(ledger, web, "failed", channels) == ["github"]


def test_the_exit_task_tells_of_runs_that_were_rejected_and_of_those_that_opened_no_row(ledger, web, monkeypatch):
    monkeypatch.setenv("SLACK_WEBHOOK", f"{web.url}/hook")
    notices = {"channels": [{"to": "slack"}], "kind": "ledger"}
    run = ledger.open("flights", "2013-06-01", "job-1")
    ledger.record(run, Verdict("data", (Check("x", "fail", reason="half of the rows are gone"),)))

    conclude("flights", ledger.tracking_uri, "job-1", "SUCCEEDED", "", notices)
    conclude("flights", ledger.tracking_uri, "job-2", "FAILED", "no warehouse", notices)
    web.down = True
    conclude("flights", ledger.tracking_uri, "job-1", "SUCCEEDED", "", notices)

    assert [body["text"] for body in web.hooked] == [
        ":warning: flights: training is data-rejected, span 2013-06-01\nhalf of the rows are gone",
        ":warning: flights: training is failed (was data-rejected)\nno warehouse",
    ]


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ({"to": "slack", "webhook": "https://hooks.slack.com/services/T0/B0/x"}, "String should match pattern"),
        ({"to": "github", "repository": "me/mine", "token": "ghp_0123456789"}, "String should match pattern"),
        ({"to": "pager"}, "does not match any of the expected tags"),
    ],
)
def test_a_secret_in_the_file_is_refused(channel, message):
    with pytest.raises(ValidationError, match=message):
        Notify.model_validate({"channels": [channel]})
