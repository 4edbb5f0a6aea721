"""Talk to Kubeflow Pipelines by kfp's own client: patiently, safely said twice, and with errors that say what to do."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from flywheel.config import Kubeflow
from flywheel.errors import ClusterError, ConfigError, MissingExtra

TOKEN, COOKIES = "FLYWHEEL_KFP_TOKEN", "FLYWHEEL_KFP_COOKIES"
"""Variables of the environment with a bearer token, and with cookies as Dex gives them."""
_POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
_PASSING = (429, 502, 503, 504)
_ATTEMPTS = 6
_PATIENCE = (10.0, 60.0)  # seconds to connect, and to wait for an answer
_PAGE = 100
_SECOND = 2.0  # long enough that what is made afterwards bears a later time
T = TypeVar("T")


class Cluster:
    """One Kubeflow Pipelines and a namespace of it.

    Args:
        settings: Which, as `kubeflow` in flywheel.yaml.
        sleep: Waits for so many seconds.
        environment: Where tokens and kfp's own variables are; `os.environ` by default.
        attempts: How often a server that is busy, or does not answer, is asked.
    """

    def __init__(
        self,
        settings: Kubeflow,
        *,
        sleep: Callable[[float], object] = time.sleep,
        environment: Mapping[str, str] | None = None,
        attempts: int = _ATTEMPTS,
    ) -> None:
        self.settings, self._sleep, self._attempts = settings, sleep, attempts
        self._environment = os.environ if environment is None else environment
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The client of kfp, made when it is first asked for.

        Raises:
            MissingExtra: kfp is not installed.
            ConfigError: It is not said where the cluster is.
        """
        if self._client is None:
            self._client = self._connect()
        return self._client

    @property
    def namespace(self) -> str | None:
        """The namespace of runs and schedules; None where Kubeflow has one user."""
        return self.settings.namespace or self.ask(lambda kfp: kfp.get_user_namespace) or None

    def link(self, what: str, id: str) -> str:
        """Return the address of a page, as of `runs` or `recurringrun`."""
        ui = self.settings.ui or self._environment.get("KF_PIPELINES_UI_ENDPOINT") or self.endpoint
        return f"{ui.rstrip('/')}/#/{what}/details/{id}"

    @property
    def endpoint(self) -> str:
        """URL of the API; empty when kfp finds it by itself."""
        return self.settings.endpoint or self._environment.get("KF_PIPELINES_ENDPOINT", "")

    def ask(self, method: Callable[[Any], Callable[..., T]], *args: Any, **options: Any) -> T:
        """Call a method of the client that may be called twice; again, a few times, when the server is busy.

        Args:
            method: Picks it, as `lambda client: client.get_run`.
            args: For it.
            options: For it.

        Raises:
            ClusterError: The cluster cannot be reached, or refuses.
        """
        for attempt in range(self._attempts):
            try:
                return self._call(method, *args, **options)
            except _Busy as busy:
                self._wait(attempt, busy)
        raise AssertionError("the last attempt raises")

    def find_or_make(self, find: Callable[[], T | None], make: Callable[[], T]) -> T:
        """Return what `find` finds, else what `make` makes; an answer that is lost does not lead to two of it."""
        for attempt in range(self._attempts):
            if (found := find()) is not None:
                return found
            try:
                return make()
            except _Busy as busy:
                self._wait(attempt, busy)
            except _Taken as taken:
                if attempt == self._attempts - 1:
                    raise ClusterError(str(taken), "somebody else has something of that name.") from None
        raise AssertionError("the last attempt raises")

    def settle(self) -> None:
        """Wait until what others have made in the same second is there to be seen: times are told to the second."""
        self._sleep(_SECOND)

    def once(self, method: Callable[[Any], Callable[..., T]], *args: Any, **options: Any) -> T:
        """Call a method of the client for `find_or_make`, which knows what to do when it fails."""
        return self._call(method, *args, **options)

    def all(self, kind: str, method: Callable[[Any], Callable[..., Any]], **options: Any) -> Iterator[Any]:
        """Yield all that a list method lists, page by page.

        Args:
            kind: Its field in the answer, as `runs`.
            method: Picks it.
            options: For it.
        """
        token = ""
        while True:
            answer = self.ask(method, page_token=token, page_size=_PAGE, **options)
            yield from getattr(answer, kind) or ()
            token = answer.next_page_token or ""
            if not token:
                return

    def experiment(self, name: str, *, make: bool = True) -> str | None:
        """Return the id of the experiment of a flywheel, made if it is not there.

        Args:
            name: Of the flywheel.
            make: Whether to make it.
        """
        environment = self._environment
        title = environment.get("KF_PIPELINES_OVERRIDE_EXPERIMENT_NAME") or self.settings.experiment
        title = title or environment.get("KF_PIPELINES_DEFAULT_EXPERIMENT_NAME") or name

        def find() -> str | None:
            found = self.all(
                "experiments", lambda kfp: kfp.list_experiments, filter=named(title), namespace=self.namespace
            )
            return next((each.experiment_id for each in found), None)

        def create() -> str:
            made = self.once(lambda kfp: kfp.create_experiment, title, namespace=self.namespace)
            return str(made.experiment_id)

        return self.find_or_make(find, create) if make else find()

    def _wait(self, attempt: int, busy: _Busy) -> None:
        if attempt == self._attempts - 1:
            raise ClusterError(str(busy), "try again later: what was done stays done.") from None
        self._sleep(min(max(2.0**attempt, busy.after), 30.0))

    def _call(self, method: Callable[[Any], Callable[..., T]], *args: Any, **options: Any) -> T:
        """Call a method of the client; with a token that has expired once more, with a new one.

        Raises:
            _Busy: It may be called again.
            _Taken: The name is taken.
            ClusterError: The server refuses.
        """
        import kfp_server_api
        import urllib3

        for renewed in (False, True):
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # kfp prints a link for every call
                    return method(self.client)(*args, **options)
            except kfp_server_api.ApiException as error:
                if error.status == 401 and not renewed:
                    self._client = None
                    continue
                raise self._refusal(error) from None
            except (urllib3.exceptions.HTTPError, ConnectionError) as error:
                raise _Busy(f"{self.endpoint or 'the cluster'} cannot be reached: {error}") from None
        raise AssertionError("the second attempt raises")

    def _refusal(self, error: Any) -> Exception:
        told = f"{self.endpoint or 'the cluster'} answers {error.status}: {_message(error)}"
        if error.status in _PASSING:
            return _Busy(told, _seconds((error.headers or {}).get("Retry-After")))
        if error.status == 409:
            return _Taken(told)
        if error.status == 401 or 300 <= (error.status or 0) < 400:  # to a page to log in
            return ClusterError(told, f"set {TOKEN}, or {COOKIES} where Dex is in front; see docs/kubeflow.md.")
        if error.status == 403:
            return ClusterError(
                told, "ask for the rights in that namespace, or set kubeflow.namespace to one of yours."
            )
        return Refused(told, "", status=int(error.status or 0))

    def _connect(self) -> Any:
        try:
            import kfp
        except ImportError as error:
            raise MissingExtra(
                f"this needs kfp, which is not installed ({error})", "pip install 'ai-flywheel[kubeflow]'"
            ) from None
        environment, settings = self._environment, self.settings
        self._check_endpoint()
        options: dict[str, Any] = {"host": self.endpoint or None, "ssl_ca_cert": settings.ssl_ca_cert}
        options |= {"existing_token": environment.get(TOKEN), "cookies": environment.get(COOKIES)}
        own = environment.get("KF_PIPELINES_SA_TOKEN_PATH") or (str(_POD_TOKEN) if _POD_TOKEN.exists() else None)
        if own and not environment.get(TOKEN):
            options["credentials"] = kfp.client.ServiceAccountTokenVolumeCredentials(own)
        if settings.namespace:
            options["namespace"] = settings.namespace
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            client = _impatient(kfp.Client)(**options)
        _be_patient(client)
        return client

    def _check_endpoint(self) -> None:
        """Refuse to guess: without any address kfp would talk to this machine."""
        configured = Path(self._environment.get("KUBECONFIG") or "~/.kube/config").expanduser()
        if not (self.endpoint or self._environment.get("KUBERNETES_SERVICE_HOST") or configured.exists()):
            raise ConfigError(
                "it is not said which Kubeflow Pipelines to talk to",
                "set kubeflow.endpoint in flywheel.yaml or a profile of it, or KF_PIPELINES_ENDPOINT.",
            )


class Refused(ClusterError):
    """The server refuses what it is asked for; `status` is that of HTTP."""

    def __init__(self, message: str, remedy: str = "", status: int = 0) -> None:
        super().__init__(message, remedy)
        self.status = status


class _Busy(Exception):
    """The server may answer another time."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class _Taken(Exception):
    """There is something of that name."""


def named(name: str, key: str = "display_name", operation: str = "EQUALS") -> str:
    """Return a filter, as the API takes it, for what has a name."""
    return json.dumps({"predicates": [{"operation": operation, "key": key, "stringValue": name}]})


def _impatient(client: Any) -> Any:
    """Return the class of clients that leave it to us to try again, here at once, with lines of log, five times."""

    class Client(client):  # type: ignore[misc]
        def _load_config(self, *args: Any, **options: Any) -> Any:
            config = super()._load_config(*args, **options)
            config.retries = False
            return config

        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            return self._healthz_api.healthz_service_get_healthz()

    return Client


def _be_patient(client: Any) -> None:
    """Let no call wait for ever: the generated client would, unless each call said otherwise."""
    rest = client._run_api.api_client.rest_client
    request = rest.request

    def limited(*args: Any, **options: Any) -> Any:
        return request(*args, **options | {"_request_timeout": options.get("_request_timeout") or _PATIENCE})

    rest.request = limited


def _message(error: Any) -> str:
    """Return what the server says, in one line."""
    try:
        said = json.loads(error.body)
        text = said.get("message") or said.get("error") or error.reason
    except (TypeError, ValueError, AttributeError):
        text = error.reason
    return " ".join(str(text).split())[:500]


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0
