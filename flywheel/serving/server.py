"""MLServer on the models in service, and on what comes into service while it runs."""

from __future__ import annotations

import asyncio
import logging
import signal
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # remarks of pydantic and setuptools on libraries below MLServer
    from mlserver import MLServer, Settings

from flywheel.errors import FlywheelError
from flywheel.serving.folder import Deployment
from flywheel.serving.ports import Ports
from flywheel.serving.root import Roots
from flywheel.serving.runtime import InService, LoadError, Service

__all__ = ["LoadError", "run"]

_POLL = 0.2
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {name: {"level": "WARNING"} for name in ("mlserver", "uvicorn", "uvicorn.error", "uvicorn.access")},
}


class NoGRPC:
    """Stands where MLServer has its gRPC server, and listens nowhere."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Wait until it is stopped."""
        await self._stopped.wait()

    async def stop(self, sig: int | None = None) -> None:
        """End the wait."""
        self._stopped.set()


async def run(
    roots: Roots,
    ports: Ports,
    ready: Callable[[Deployment], object],
    say: Callable[[str], object],
) -> None:
    """Serve what is in service in `roots`, and what comes into service there, until a signal ends it.

    Args:
        roots: Folders of models.
        ports: Where to listen.
        ready: Called for each model once requests are answered.
        say: Called with a line when a version takes over, or cannot, and when logging stops.
    """
    logging.captureWarnings(True)  # libraries' remarks on themselves; MLflow sets filters of its own around them
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    service, served = Service(roots, say), roots.require()
    server = MLServer(_server_settings(ports, service))
    if not ports.grpc:
        server._grpc_server = NoGRPC()
    try:
        repository = InService("", service)
        models = [settings for name in served for settings in await repository.find(name)]
        serving = asyncio.create_task(server.start(models))
        while not serving.done() and not await asyncio.to_thread(_all_answer, ports.url, served):
            await asyncio.sleep(0.05)
        if not serving.done():
            _take_interrupt_as_terminate()
            for deployment in served.values():
                ready(deployment)
        following = asyncio.create_task(_Follower(roots, served, ports.url, say).follow())
        try:
            await serving
        finally:
            following.cancel()
    finally:
        service.close()


def _server_settings(ports: Ports, service: Service) -> Settings:
    return Settings(
        debug=False,
        host=ports.host,
        http_port=ports.rest,
        grpc_port=ports.grpc,
        metrics_endpoint="/metrics" if ports.metrics else None,
        metrics_port=ports.metrics,
        parallel_workers=0,
        logging_settings=_LOGGING,
        model_repository_implementation=f"{InService.__module__}.{InService.__name__}",
        model_repository_implementation_args={"service": service},
        load_models_at_startup=False,
    )


def _take_interrupt_as_terminate() -> None:
    """End on Ctrl-C as on SIGTERM: MLServer and uvicorn both take an interrupt, and the second cuts requests off."""
    asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))


class _Follower:
    """Asks the server to load what comes into service; a model that takes long to load keeps no other one waiting."""

    def __init__(self, roots: Roots, served: dict[str, Deployment], url: str, say: Callable[[str], object]) -> None:
        self._roots, self._url, self._say = roots, url, say
        self._seen, self._served = dict(served), dict(served)
        self._loading: dict[str, asyncio.Task[None]] = {}

    async def follow(self) -> None:
        """Look again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(_POLL)
            try:
                found = self._roots.in_service()
            except (FlywheelError, OSError, ValueError) as error:  # a folder that came to hold a name twice, say
                self._say_once(str(error))
                continue
            for name, now in found.items():
                busy = name in self._loading and not self._loading[name].done()
                if now != self._seen.get(name) and not busy:
                    self._seen[name] = now
                    self._loading[name] = asyncio.create_task(self._take_over(now))

    async def _take_over(self, now: Deployment) -> None:
        """Load what came into service; what cannot be loaded leaves the former one where it is."""
        problem = await asyncio.to_thread(_ask_to_load, f"{self._url}/v2/repository/models/{now.name}/load")
        former = self._served.get(now.name)
        of = "" if len(self._seen) == 1 else f" of {now.name}"
        if problem:
            stays = f", {former.version} stays" if former else ""
            self._say(f"version {now.version}{of} of span {now.span} cannot be served{stays}: {problem}")
            return
        self._served[now.name] = now
        what = f"takes over from version {former.version}" if former else "is served too"
        self._say(f"version {now.version}{of} of span {now.span} {what}")

    _said = ""

    def _say_once(self, problem: str) -> None:
        if problem != self._said:
            self._said = problem
            self._say(problem)


def _all_answer(url: str, names: Iterable[str]) -> bool:
    try:
        for name in names:
            urllib.request.urlopen(f"{url}/v2/models/{name}/ready", timeout=5).close()
    except OSError:
        return False
    return True


def _ask_to_load(url: str) -> str:
    """Return what hinders it; nothing when it is loaded."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=600):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")
    except OSError as error:
        return str(error)
