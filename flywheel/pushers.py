"""Who may post: the signed tokens that Pub/Sub and others send along, as Google signs them (OpenID Connect)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from flywheel.errors import ConfigError, MissingExtra

CERTIFICATES = "https://www.googleapis.com/oauth2/v1/certs"
_ISSUERS = ("accounts.google.com", "https://accounts.google.com")
_KEPT, _TIMEOUT, _SKEW = 3600.0, 10, 10  # seconds: of certificates, which are there for days; of asking; of clocks


class Refused(Exception):
    """Whoever asks may not.

    Args:
        status: 401 for who cannot be known, 403 for who is known and may not, 503 when that cannot be found out now.
        why: What is wrong; never the token.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Pushers:
    """Service accounts that may post.

    Args:
        audience: That their tokens have to be for, as the push subscription says.
        accounts: Their e-mail addresses.
        certificates: Where the public keys are that tokens are signed with.
        clock: Gives seconds that only grow.

    Raises:
        ConfigError: An address is none.
        MissingExtra: google-auth is not installed.
    """

    def __init__(
        self,
        audience: str,
        accounts: Collection[str],
        certificates: str = CERTIFICATES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for each in accounts:
            if "@" not in each:
                raise ConfigError(f"--pusher is {each!r}", "give a service account's e-mail address.")
        try:
            from google.auth.transport.requests import Request
        except ImportError as error:
            raise MissingExtra(f"this needs {error.name!r}", "pip install 'ai-flywheel[kubeflow]'") from None
        self._audience, self._accounts, self._url = audience, frozenset(accounts), certificates
        self._kept: Any = _Kept(Request(), clock)

    def __call__(self, authorization: str) -> None:
        """Return if the header `Authorization` of a request names an account that may post.

        Raises:
            Refused: It does not.
        """
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.oauth2 import id_token

        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise Refused(401, "there is no bearer token in the header Authorization")
        try:
            told = id_token.verify_token(
                token.strip(), self._kept, self._audience, certs_url=self._url, clock_skew_in_seconds=_SKEW
            )
        except TransportError as error:
            raise Refused(503, f"the certificates at {self._url} cannot be had: {error}") from None
        except (GoogleAuthError, ValueError) as error:
            raise Refused(401, f"the token is not good: {_line(error)}") from None
        if told.get("iss") not in _ISSUERS:
            raise Refused(401, f"the token was issued by {told.get('iss')!r}, not by {_ISSUERS[1]}")
        email = told.get("email")
        if not told.get("email_verified") or email not in self._accounts:
            raise Refused(403, f"{email or 'a token without e-mail address'} is none that may post")


class _Kept:
    """A transport of google-auth that asks for certificates once an hour: whoever posts rubbish costs no call."""

    def __init__(self, request: Callable[..., Any], clock: Callable[[], float]) -> None:
        self._request, self._clock, self._lock = request, clock, threading.Lock()
        self._had: tuple[float, Any] | None = None

    def __call__(self, url: str, method: str = "GET", **_: Any) -> Any:
        with self._lock:
            if self._had is None or self._clock() - self._had[0] > _KEPT:
                answer = self._request(url, method=method, timeout=_TIMEOUT)
                if answer.status != 200:
                    return answer
                self._had = (self._clock(), answer)
            return self._had[1]


def _line(error: Exception) -> str:
    """Return the first line of what went wrong, without the token, which google-auth quotes when it cannot read it."""
    said = str(error.args[0] if error.args else error).splitlines() or [type(error).__name__]
    return said[0].partition(": b'")[0][:160]
