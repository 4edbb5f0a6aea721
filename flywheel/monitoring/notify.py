"""Tell people when a flywheel's state changes; whatever goes wrong on the way is said in the log and stops nothing."""

from __future__ import annotations

import json
import os
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from flywheel.config import Email, GitHub, Notify, Slack
from flywheel.errors import FlywheelError
from flywheel.ledger import MONITOR, Ledger
from flywheel.say import say

OK = "ok"
_STATES = {"promoted": OK, "kept-champion": OK, "not-needed": OK, "not-ready": OK, "fine": OK}
_TAG = "flywheel.notified."
_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class News:
    """What became of a run, for people.

    Attributes:
        name: Of the flywheel.
        kind: `ledger` of a run that trains, `monitor` of a look at what serving sees.
        state: `ok`, or what is wrong: `failed`, `data-rejected`, `awaiting-approval`, `alert`, `retrain`.
        before: What it was when people were last told.
        span: Which span, if the run had one.
        why: In a sentence.
        link: Address of the run; empty for none.
    """

    name: str
    kind: str
    state: str
    before: str
    span: str
    why: str
    link: str

    @property
    def subject(self) -> str:
        """What an issue is found again by."""
        return f"{self.name}: {'monitoring' if self.kind == MONITOR else 'training'}"

    @property
    def title(self) -> str:
        """What happened, in a line."""
        was = f" (was {self.before})" if self.before else ""
        return f"{self.subject} is {self.state}{was}{f', span {self.span}' if self.span else ''}"

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(part for part in (self.title, self.why, self.link) if part)


def state_of(outcome: str, unfinished: str = "") -> str:
    """Return the state that a row's outcome means."""
    return "failed" if unfinished else _STATES.get(outcome, outcome)


def notify(
    book: Ledger, settings: Notify, kind: str, news: Mapping[str, str], environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Tell every channel that was told another state last, and return which were told; it never raises.

    Each channel's last state stands on the flywheel's experiment in the ledger: one that could not be reached is told
    by the next run. As long as nothing was ever wrong, nothing is told.

    Args:
        book: The ledger.
        settings: `notify` of flywheel.yaml.
        kind: `ledger` or `monitor`.
        news: `name`, `state`, `span`, `why` and `job`.
        environ: Holds the secrets that the channels name.
    """
    told: list[str] = []
    for channel in settings.channels:
        place = channel.to + ("" if settings.channels.index(channel) == 0 else str(settings.channels.index(channel)))
        try:
            tag, experiment = f"{_TAG}{kind}.{place}", book.experiment(news["name"])
            before = book.client.get_experiment(experiment).tags.get(tag, "")
            if news["state"] == (before or OK):
                continue
            link = (settings.link or "").format(job=news["job"], span=news["span"])
            found = News(news["name"], kind, news["state"], before, news["span"], news["why"], link)
            _SEND[channel.to](channel, found, environ)
            book.client.set_experiment_tag(experiment, tag, news["state"])
            told.append(channel.to)
        except Exception as error:  # a run is never to fail for want of a message
            say(f"{channel.to} is not notified, the next run tries again: {_harmless(error)}")
    return told


def _slack(channel: Slack, news: News, environ: Mapping[str, str]) -> None:
    mark = ":white_check_mark:" if news.state == OK else ":warning:"
    _post(_secret(channel.webhook, environ), {"text": f"{mark} {news.text}"})


def _email(channel: Email, news: News, environ: Mapping[str, str]) -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = news.title, channel.sender, ", ".join(channel.recipients)
    message.set_content(news.text)
    host, _, port = channel.server.partition(":")
    secure = ssl.create_default_context()
    if port == "465":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, 465, timeout=_TIMEOUT, context=secure)
    else:
        server = smtplib.SMTP(host, int(port or 587), timeout=_TIMEOUT)
    with server:
        if channel.tls and port != "465":
            server.starttls(context=secure)
        if channel.user and channel.password:
            server.login(_secret(channel.user, environ), _secret(channel.password, environ))
        server.send_message(message)


def _github(channel: GitHub, news: News, environ: Mapping[str, str]) -> None:
    issues = f"{channel.api}/repos/{channel.repository}/issues"
    token = {"authorization": f"Bearer {_secret(channel.token, environ)}", "accept": "application/vnd.github+json"}
    listed = _call("GET", f"{issues}?state=open&labels=flywheel&per_page=100", None, token)
    mine = [issue["number"] for issue in listed if str(issue["title"]).startswith(f"{news.subject} is ")]
    if not mine and news.state != OK:
        _call("POST", issues, {"title": news.title, "body": news.text, "labels": ["flywheel"]}, token)
    for number in mine:
        _call("POST", f"{issues}/{number}/comments", {"body": news.text}, token)
        if news.state == OK:
            _call("PATCH", f"{issues}/{number}", {"state": "closed"}, token)


_SEND: Mapping[str, Callable[[Any, News, Mapping[str, str]], None]] = {
    "slack": _slack,
    "email": _email,
    "github": _github,
}


class _Unset(FlywheelError):
    """An environment variable that a channel names is not set."""


def _secret(variable: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable, "")
    if not value:
        raise _Unset(f"the environment variable {variable} is not set")
    return value


def _post(url: str, body: Any) -> None:
    _send("POST", url, body, {})


def _call(method: str, url: str, body: Any, headers: Mapping[str, str]) -> Any:
    return json.loads(_send(method, url, body, headers) or "null")


def _send(method: str, url: str, body: Any, headers: Mapping[str, str]) -> str:
    if not url.startswith(("http://", "https://")):
        raise _Unset("the webhook is no http:// or https:// address")
    data = None if body is None else json.dumps(body).encode()
    given = {"content-type": "application/json", "user-agent": "flywheel", **headers}
    request = urllib.request.Request(url, data, given, method=method)
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        return str(answer.read().decode("utf-8", "replace"))


def _harmless(error: Exception) -> str:
    """Return what went wrong without anything that could be a secret: a webhook's URL is one."""
    if isinstance(error, _Unset):
        return error.message
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"it cannot be reached ({type(error.reason).__name__})"
    return type(error).__name__


__all__ = ["News", "notify", "state_of"]
