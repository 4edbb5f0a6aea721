"""`local`: the folder that `flywheel serve` watches."""

from __future__ import annotations

from flywheel.config import Local
from flywheel.serving.folder import Deployment, ServingFolder, path_of
from flywheel.serving.targets import Order, Placed


class Target:
    """A serving folder.

    Args:
        settings: `deploy` of flywheel.yaml.
        name: Of the model.
    """

    def __init__(self, settings: Local, name: str) -> None:
        self._folder = ServingFolder(path_of(settings.folder) / name)

    def current(self) -> Deployment | None:
        """Return what is in service, if anything is."""
        return self._folder.current()

    def put(self, order: Order) -> Placed:
        """Copy the version beside the one in service, then switch the symlink."""
        before = self.current()
        after = self._folder.deploy(order.champion, order.download, order.newest)
        return Placed(str(self._folder.path), changed=before != after)
