"""Real ledgers and small model folders for tests; MLflow's migrations run once for all of them."""

import tempfile
from functools import cache
from pathlib import Path

from flywheel.artifacts import Model
from flywheel.ledger.store import ensure_sqlite


@cache
def _empty_store() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "mlflow.db")
        ensure_sqlite(file)
        return file.read_bytes()


def ledger_in(folder: Path) -> str:
    """Return the URI of a fresh ledger in `folder`."""
    file = folder / ".flywheel" / "mlflow.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(_empty_store())
    return f"sqlite:///{file}"


def model_in(folder: Path, content: str = "weights") -> Model:
    """Return a model artifact that holds `content` and does nothing."""
    with Model.create(folder, producer="train", spans=["2013-05-01"]) as draft:
        (draft.path / "MLmodel").write_text("flavors: {}\n")
        (draft.path / "data").mkdir()
        (draft.path / "data" / "weights").write_text(content)
    return Model.open(folder)
