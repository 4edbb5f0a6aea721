"""Small MLflow models that answer one number, put in service without a ledger: quick to load, no TensorFlow."""

import shutil
from pathlib import Path

from flywheel.artifacts import Model
from flywheel.ledger import Champion
from flywheel.serving.folder import ServingFolder

NAME = "toy"
MODEL = """
import mlflow, pandas


class Toy(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if (model_input["distance"] < 0).any():
            raise ValueError("distance is negative")
        if (model_input["distance"] > 1e9).any():
            raise RuntimeError("secret inner workings")
        return pandas.DataFrame({"prediction": [float(ANSWER)] * len(model_input)})


mlflow.models.set_model(Toy())
"""


def toy(folder: Path, answer: str, code: str = "", whole: str = "long") -> Model:
    """Return a model in `folder` that answers `answer` to whatever it is asked, or runs `code` when it is loaded."""
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    from flywheel.ledger import engine  # noqa: F401

    source = folder.with_suffix(".py")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(MODEL.replace("ANSWER", answer))
    columns = [ColSpec("double", "distance"), ColSpec("string", "carrier"), ColSpec(whole, "hour")]
    hour = 9.0 if whole == "double" else 9
    example = pd.DataFrame({"distance": [1400.0], "carrier": ["O'Hare & Söhne"], "hour": [hour]})
    with Model.create(folder, producer="train") as draft:
        mlflow.pyfunc.save_model(
            draft.path / "model",
            python_model=str(source),
            signature=ModelSignature(Schema(columns), Schema([ColSpec("double", "prediction")])),
            input_example=example,
            pip_requirements=[],
        )
        if code:
            (draft.path / "model" / source.name).write_text(code)
        shutil.copytree(draft.path / "model", draft.path, dirs_exist_ok=True)
        shutil.rmtree(draft.path / "model")
    return Model.open(folder)


def put_in_service(model: Model, serving: Path, version: int, name: str = NAME) -> None:
    """Deploy `model` as that version, of a span that follows the one before."""
    champion = Champion(name, str(version), f"2013-06-{version:02d}", "run", model.digest)

    def download(into: Path) -> Path:
        return Path(shutil.copytree(model.path, into / "model"))

    ServingFolder(serving / name).deploy(champion, download, lambda: champion)
