"""MLServer with its MLflow runtime, on the model in service; imported only by the process that serves.

MLServer's repository API is what swaps: `find` gives settings whose runtime is loaded already, in a thread of its own,
so that from registering the new version to unloading the old one the event loop never waits, and no request meets a
model that is not ready.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # remarks of pydantic and setuptools on libraries below MLServer
    from mlflow.exceptions import MlflowException
    from mlserver import MLServer, ModelSettings, Settings
    from mlserver.errors import InferenceError, MLServerError, ModelNotFound
    from mlserver.repository import ModelRepository
    from mlserver.settings import ModelParameters
    from mlserver.types import InferenceRequest, InferenceResponse
    from mlserver_mlflow import MLflowRuntime

from flywheel.errors import FlywheelError
from flywheel.serving.folder import Deployment, ServingFolder

_Settings = list[ModelSettings]  # `list` is a method of the repository, by its contract
_POLL = 0.5
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {name: {"level": "WARNING"} for name in ("mlserver", "uvicorn", "uvicorn.error", "uvicorn.access")},
}
_log = logging.getLogger("flywheel.serving")


class LoadError(MLServerError):
    """The model in service does not load."""


class Runtime(MLflowRuntime):
    """MLServer's MLflow runtime, whose answers to wrong requests say what is wrong with them."""

    _loaded = False

    async def load(self) -> bool:
        """Load the model, once."""
        if not self._loaded:
            self._loaded = await super().load()
        return self._loaded

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the model's predictions.

        Raises:
            InferenceError: The request is not one that the model can answer (400).
            MLServerError: The model failed (500).
        """
        try:
            return await super().predict(payload)
        except MLServerError:
            raise
        except (FlywheelError, MlflowException, ValueError, TypeError, KeyError) as error:
            raise InferenceError(f"{self.name} cannot answer this request: {_readable(error)}") from error
        except Exception as error:
            _log.exception("%s failed", self.name)
            raise MLServerError(
                f"{self.name} failed: {type(error).__name__}; the server's log says more", 500
            ) from error


class LoadedSettings(ModelSettings):
    """Settings of a model that is loaded already."""

    _runtime: Runtime | None = None

    @property
    def implementation(self) -> Callable[[ModelSettings], Runtime]:
        """What MLServer calls for the runtime."""
        runtime = self._runtime
        assert runtime is not None
        return lambda _: runtime


class CurrentModel(ModelRepository):
    """The one model that `current` points to, as MLServer asks for it.

    Args:
        root: Its serving folder.
    """

    def __init__(self, root: str) -> None:
        self._folder = ServingFolder(Path(root))

    async def list(self) -> _Settings:
        """Return what is in service, not loaded."""
        deployment = self._folder.current()
        return [_settings(deployment, self._folder.path / deployment.version)] if deployment else []

    async def find(self, name: str) -> _Settings:
        """Return what is in service, whole, verified and loaded.

        Raises:
            ModelNotFound: It is another model that is served here.
            LoadError: It cannot be loaded.
        """
        try:
            deployment, model = await asyncio.to_thread(self._folder.model)
            settings = _settings(deployment, model.path)
            settings._runtime = Runtime(settings)
            await asyncio.to_thread(asyncio.run, settings._runtime.load())
        except Exception as error:  # whatever a model's own code raises must not end the server
            raise LoadError(_readable(error)) from error
        if deployment.name != name:
            raise ModelNotFound(name)
        return [settings]


def _settings(deployment: Deployment, model: Path) -> LoadedSettings:
    parameters = ModelParameters(uri=str(model), version=deployment.version)
    return LoadedSettings(
        name=deployment.name,
        platform="mlflow",
        versions=[deployment.version],
        implementation=Runtime,
        parameters=parameters,
    )


async def run(
    folder: ServingFolder,
    host: str,
    port: int,
    grpc_port: int,
    metrics_port: int | None,
    ready: Callable[[Deployment], object],
    say: Callable[[str], object],
) -> None:
    """Serve what is in service in `folder`, and what comes into service there, until a signal ends it.

    Args:
        folder: Of the model.
        host: Address to listen on.
        port: Port of the REST protocol.
        grpc_port: Port of the gRPC protocol; 0 for one that is free.
        metrics_port: Port of the Prometheus metrics; none are kept without.
        ready: Called once, when requests are answered.
        say: Called with a line when a version takes over, or cannot.
    """
    logging.captureWarnings(True)  # libraries' remarks on themselves; MLflow sets filters of its own around them
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    deployment, _ = folder.model()
    settings = Settings(
        debug=False,
        host=host,
        http_port=port,
        grpc_port=grpc_port,
        metrics_endpoint="/metrics" if metrics_port else None,
        metrics_port=metrics_port or 0,
        parallel_workers=0,
        logging_settings=_LOGGING,
        model_repository_implementation=f"{__name__}.{CurrentModel.__name__}",
        model_repository_root=str(folder.path),
        load_models_at_startup=False,
    )
    models = await CurrentModel(str(folder.path)).find(deployment.name)
    server = MLServer(settings)
    serving = asyncio.create_task(server.start(models))
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    while not serving.done() and not await asyncio.to_thread(_answers, f"{url}/v2/models/{deployment.name}/ready"):
        await asyncio.sleep(0.05)
    if not serving.done():
        _take_interrupt_as_terminate()
        ready(deployment)
    following = asyncio.create_task(_follow(folder, deployment, url, say))
    try:
        await serving
    finally:
        following.cancel()


def _take_interrupt_as_terminate() -> None:
    """End on Ctrl-C as on SIGTERM: MLServer and uvicorn both take an interrupt, and the second cuts requests off."""
    asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))


async def _follow(folder: ServingFolder, served: Deployment, url: str, say: Callable[[str], object]) -> None:
    """Ask the server to load what comes into service; what cannot be loaded leaves the former one where it is."""
    seen = served
    while True:
        await asyncio.sleep(_POLL)
        now = folder.current()
        if now is None or now == seen:
            continue
        seen = now
        problem = await asyncio.to_thread(_ask_to_load, f"{url}/v2/repository/models/{now.name}/load")
        if problem:
            say(f"version {now.version} of span {now.span} cannot be served, {served.version} stays: {problem}")
        else:
            say(f"version {now.version} of span {now.span} takes over from version {served.version}")
            served = now


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _ask_to_load(url: str) -> str:
    """Return what hinders it; nothing when it is loaded."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=600):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")
    except OSError as error:
        return str(error)


def _readable(error: BaseException) -> str:
    if isinstance(error, KeyError) and error.args:
        return f"no {error.args[0]!r}"
    text = str(error).strip() or type(error).__name__
    if isinstance(error, MlflowException) and text.startswith("Failed to enforce schema"):
        text = text.rpartition(" Error: ")[2]  # before it stand the request's rows, which are not to be repeated
    return text
