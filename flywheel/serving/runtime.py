"""The models in service as MLServer asks for them; imported only by the process that serves.

MLServer's repository API is what swaps: `find` gives settings whose runtime is loaded already, in a thread of its own,
so that from registering the new version to unloading the old one the event loop never waits, and no request meets a
model that is not ready.
"""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # remarks of pydantic and setuptools on libraries below MLServer
    from mlflow.exceptions import MlflowException
    from mlserver import ModelSettings
    from mlserver.errors import InferenceError, MLServerError, ModelNotFound
    from mlserver.repository import ModelRepository
    from mlserver.settings import ModelParameters
    from mlserver.types import InferenceRequest, InferenceResponse
    from mlserver.utils import generate_uuid
    from mlserver_mlflow import MLflowRuntime
    from mlserver_mlflow.codecs import TensorDictCodec

from flywheel.errors import FlywheelError
from flywheel.serving.figures import Figures
from flywheel.serving.folder import Deployment
from flywheel.serving.request_log import Layout, RequestWriter
from flywheel.serving.root import Roots

_Settings = list[ModelSettings]  # `list` is a method of the repository, by its contract
_log = logging.getLogger("flywheel.serving")


class LoadError(MLServerError):
    """The model in service does not load."""


class Service:
    """What one process serves: the folders, the figures, and a request log a model.

    Args:
        roots: What is served.
        say: Called with each line worth telling.
    """

    def __init__(self, roots: Roots, say: Callable[[str], object]) -> None:
        self.roots, self.figures = roots, Figures()
        self._say, self._logs = say, dict[str, RequestWriter]()

    def log(self, name: str) -> RequestWriter | None:
        """Return the request log of a model, which outlives its versions; None when there is to be none."""
        logged = self.roots.log(name)
        if logged and name not in self._logs:

            def count(what: str, rows: int) -> None:
                self.figures.logged(name, what, rows)

            self._logs[name] = RequestWriter(logged.folder, logged.settings, count, self._say)
        return self._logs.get(name)

    def close(self) -> None:
        """Write what the logs still hold."""
        for log in self._logs.values():
            log.close()


class Runtime(MLflowRuntime):
    """MLServer's MLflow runtime, which counts and logs, and says what is wrong with wrong requests.

    Args:
        settings: Of the model.
        service: Counts and logs.
    """

    _loaded = False

    def __init__(self, settings: ModelSettings, service: Service) -> None:
        super().__init__(settings)
        self._figures, self._requests = service.figures, service.log(settings.name)

    async def load(self) -> bool:
        """Load the model, once."""
        if not self._loaded:
            self._loaded = await super().load()
            if self._requests:
                named = self._input_schema is not None and self._input_schema.has_input_names()
                types = self._input_schema.input_dict() if named else {}
                self._layout = Layout.of(
                    {name: getattr(getattr(column, "type", None), "name", "") for name, column in types.items()},
                    self._requests.settings,
                )
        return self._loaded

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the model's predictions.

        Raises:
            InferenceError: The request is not one that the model can answer (400).
            MLServerError: The model failed (500).
        """
        payload.id = payload.id or generate_uuid()  # by gRPC it is empty when the client gives none
        version, start = self.version or "", time.perf_counter()
        try:
            rows, answers, response = self._answer(payload)
        except MLServerError as error:
            self._figures.failed(self.name, version)
            if self._requests:
                self._requests.traffic.failed(version, error.status_code)
            raise
        seconds = time.perf_counter() - start
        self._figures.answered(self.name, version, _count(answers), seconds)
        if self._requests:
            self._requests.traffic.answered(version, _count(answers), seconds)
            self._requests.add(payload.id, version, self._layout, rows, answers)
        return response

    def _answer(self, payload: InferenceRequest) -> tuple[Any, Any, InferenceResponse]:
        """Return what was asked, what the model answers, and that as a response."""
        try:
            rows = self.decode_request(payload)
            answers = self._model.predict(rows)
            return rows, answers, self.encode_response(answers, default_codec=TensorDictCodec)
        except MLServerError:
            raise
        except (FlywheelError, MlflowException, ValueError, TypeError, KeyError) as error:
            where = self._unreadable(payload)
            raise InferenceError(f"{self.name} cannot answer this request: {where}{_readable(error)}") from error
        except Exception as error:
            _log.exception("%s failed", self.name)
            raise MLServerError(
                f"{self.name} failed: {type(error).__name__}; the server's log says more", 500
            ) from error

    def _unreadable(self, payload: InferenceRequest) -> str:
        """Return which input is not of the datatype that it says, as the beginning of a message; empty when all are."""
        for each in payload.inputs:
            try:
                self.decode_request(InferenceRequest(inputs=[each], parameters=payload.parameters))
            except Exception:  # whatever a codec raises
                return f"input {each.name!r} is no {each.datatype}: "
        return ""


class LoadedSettings(ModelSettings):
    """Settings of a model that is loaded already."""

    _runtime: Runtime | None = None

    @property
    def implementation(self) -> Callable[[ModelSettings], Runtime]:
        """What MLServer calls for the runtime."""
        runtime = self._runtime
        assert runtime is not None
        return lambda _: runtime


class InService(ModelRepository):
    """The models that the symlinks `current` point to, as MLServer asks for them.

    Args:
        root: MLServer gives it; it is the service that knows where the models are.
        service: What is served.
    """

    def __init__(self, root: str, service: Service) -> None:
        self._service = service

    async def list(self) -> _Settings:
        """Return what is in service, not loaded."""
        found = self._service.roots.in_service()
        return [_settings(each, self._service.roots.folder(name).path / each.version) for name, each in found.items()]

    async def find(self, name: str) -> _Settings:
        """Return what is in service, whole, verified and loaded.

        Raises:
            ModelNotFound: No such model is served here.
            LoadError: It cannot be loaded.
        """
        if name not in self._service.roots.in_service():
            raise ModelNotFound(name)
        try:
            deployment, model = await asyncio.to_thread(self._service.roots.folder(name).model)
            settings = _settings(deployment, model.path)
            settings._runtime = Runtime(settings, self._service)
            await asyncio.to_thread(asyncio.run, settings._runtime.load())
        except Exception as error:  # whatever a model's own code raises must not end the server
            raise LoadError(_readable(error)) from error
        self._service.figures.in_service(deployment)
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


def _count(answers: Any) -> int:
    return len(answers) if hasattr(answers, "__len__") else 1


def _readable(error: BaseException) -> str:
    if isinstance(error, KeyError) and error.args:
        return f"no {error.args[0]!r}"
    text = str(error).strip() or type(error).__name__
    if isinstance(error, MlflowException) and text.startswith("Failed to enforce schema"):
        text = text.rpartition(" Error: ")[2]  # before it stand the request's rows, which are not to be repeated
    return text
