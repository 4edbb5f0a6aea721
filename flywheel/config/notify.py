"""`notify`: who is told when a flywheel's state changes; secrets are named here, never written."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from flywheel.config.strict import Strict

_Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class _Channel(Strict):
    secret: str | None = Field(
        None, description="Kubernetes secret that has the variables named here as keys; on a cluster."
    )


class Slack(_Channel):
    """An incoming webhook of Slack, or of whatever takes the same JSON (Mattermost, Teams' and Discord's adapters)."""

    to: Literal["slack"]
    webhook: _Variable = Field("SLACK_WEBHOOK", description="Environment variable that holds the webhook's URL.")

    @property
    def variables(self) -> tuple[str, ...]:
        """Environment variables that it needs."""
        return (self.webhook,)


class Email(_Channel):
    """Mail by an SMTP server."""

    to: Literal["email"]
    server: str = Field(pattern=r"^[^\s:/]+(:\d+)?$", description="Host and port, as smtp.example.org:587.")
    sender: str = Field(pattern=r"^\S+@\S+$", description="Address that it comes from.")
    recipients: tuple[Annotated[str, Field(pattern=r"^\S+@\S+$")], ...] = Field(min_length=1, description="Addresses.")
    tls: bool = Field(True, description="Whether to ask for STARTTLS; on port 465 it is TLS at once.")
    user: _Variable | None = Field(None, description="Environment variable that holds the user's name.")
    password: _Variable | None = Field(None, description="Environment variable that holds the password.")

    @property
    def variables(self) -> tuple[str, ...]:
        """Environment variables that it needs."""
        return tuple(name for name in (self.user, self.password) if name)


class GitHub(_Channel):
    """An issue that is opened when something is wrong, commented on as that changes, and closed when it is over."""

    to: Literal["github"]
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="As owner/name.")
    token: _Variable = Field("GITHUB_TOKEN", description="Environment variable that holds a token for issues.")
    api: str = Field("https://api.github.com", description="Address of the REST API, of GitHub Enterprise another one.")

    @property
    def variables(self) -> tuple[str, ...]:
        """Environment variables that it needs."""
        return (self.token,)

    @field_validator("api")
    @classmethod
    def _an_address(cls, api: str) -> str:
        parts = urlsplit(api)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError("the address of an API is written as https://github.example.org/api/v3")
        return api.rstrip("/")


Channel = Annotated[Slack | Email | GitHub, Field(discriminator="to")]


class Metrics(Strict):
    """Where the figures of each run go, as OpenMetrics."""

    textfile: str | None = Field(
        None, pattern="^/", description="Folder, absolute, that node-exporter's textfile collector reads."
    )
    pushgateway: str | None = Field(
        None, pattern=r"^https?://[^@\s]+$", description="Prometheus' pushgateway, as http://host:9091."
    )


class Notify(Strict):
    """Who is told when a flywheel's state changes: a run failed, data was rejected, monitoring alerts."""

    channels: tuple[Channel, ...] = Field((), description="Where to.")
    link: str | None = Field(
        None,
        description="Address of a run for people, {job} and {span} stand in it, as https://kfp/#/runs/details/{job}.",
    )

    metrics: Metrics | None = Field(None, description="Where the figures of each run go; nowhere by default.")

    @field_validator("link")
    @classmethod
    def _fits(cls, link: str | None) -> str | None:
        if link is not None:
            try:
                link.format(job="", span="")
            except (KeyError, IndexError, ValueError):
                raise ValueError("only {job} and {span} may stand in it") from None
        return link
