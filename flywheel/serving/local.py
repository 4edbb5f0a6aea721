"""Serve the champions on this machine by the Open Inference Protocol, in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.errors import MissingExtra, ServingError
from flywheel.say import say
from flywheel.serving.ports import Ports
from flywheel.serving.request import curl_line
from flywheel.serving.root import Roots

if TYPE_CHECKING:
    from flywheel.serving.folder import Deployment


def serve(roots: Roots, ports: Ports = Ports(), *, say: Callable[[str], object] = say) -> None:  # noqa: B008 - frozen
    """Answer requests with the models in service until a signal ends it; a new champion takes over without a restart.

    Args:
        roots: The folders that `deploy` writes to.
        ports: Where to listen.
        say: Called with each line worth telling; for each model one when requests are answered.

    Raises:
        ServingError: Nothing is deployed yet, a port is in use, or a model does not load.
        MissingExtra: MLServer is not installed.
    """
    import asyncio

    roots.require()
    ports.check()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from flywheel.ledger import engine  # noqa: F401  (MLflow, told to be quiet)
        from flywheel.serving import server
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name!r} is not installed", "pip install 'ai-flywheel[local]'.") from error

    def ready(deployment: Deployment) -> None:
        what = f"{deployment.name} version {deployment.version} of span {deployment.span}"
        say(f"serving {what} at {ports.url}; ask it with\n{example(roots, deployment.name, ports)}")

    try:
        asyncio.run(server.run(roots, ports, ready, say))
    except KeyboardInterrupt:
        return  # that is how it is stopped, here before it was ready
    except server.LoadError as error:
        where = ", ".join(str(root.path) for root in roots.roots)
        raise ServingError(f"a model in {where} does not load: {error}", "run the flywheel again.") from error


def example(roots: Roots, name: str, ports: Ports) -> str:
    """Return the command that asks the server for a prediction of model `name`."""
    serving: Path = roots.folder(name).path.parent
    return curl_line(serving, name, ports.url)
