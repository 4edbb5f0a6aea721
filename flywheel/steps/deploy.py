"""Deploy: put the champion in service."""

from __future__ import annotations

from flywheel.ledger import Ledger
from flywheel.ledger.registry import version_of
from flywheel.say import say
from flywheel.serving.folder import ServingFolder, path_of

PRELOAD = ("flywheel.ledger.engine",)


def deploy(name: str, version: str, target: str, ledger: str | Ledger, run: str) -> str:
    """Put a version of the registry in service at `target` and return where; doing so twice changes nothing.

    Args:
        name: Name of the flywheel, and of the registered model.
        version: Version to serve.
        target: Path or file:// URI of the folder that `flywheel serve` watches.
        ledger: MLflow tracking URI, or the ledger itself.
        run: The run's row in the ledger, that the endpoint goes to.

    Raises:
        ServingError: Another version is champion by now; the target is no folder, or its disk is full.
        LedgerError: There is no such version, or no ledger.
    """
    book = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    chosen = version_of(book.client, name, version)
    folder = ServingFolder(path_of(target) / name)
    source = book.client.get_model_version_download_uri(name, version)
    before = folder.current()
    after = folder.deploy(chosen, lambda into: book.client.download(source, into), lambda: book.champion(name))
    book.note(run, endpoint=str(folder.path))
    verb = "is in service already" if before == after else "is in service now"
    say(f"version {version} of {name} {verb}, in {folder.path}")
    return str(folder.path)
