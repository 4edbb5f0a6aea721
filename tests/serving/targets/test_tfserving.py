import errno
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from flywheel.config import TFServing
from flywheel.errors import ArtifactError, ServingError
from flywheel.serving import pyfunc
from flywheel.serving.export import savedmodel, tf_features
from flywheel.serving.targets.tfserving import Target

pytestmark = pytest.mark.slow


@pytest.fixture
def target(tmp_path):
    return Target(TFServing(target="tfserving", folder=str(tmp_path)), "flights")


def versions_in(folder):
    """What a server that polls the folder sees of it."""
    return sorted(int(path.name) for path in (folder / "flights").iterdir() if path.name.isdigit())


def left_over(folder):
    return [
        path.name for path in (folder / "flights").iterdir() if path.name.startswith((".partial", ".built", ".gone"))
    ]


def served(folder, rows):
    """What TensorFlow makes of the highest version and raw rows."""
    import tensorflow as tf

    model = tf.saved_model.load(str(folder / "flights" / str(versions_in(folder)[-1]))).signatures["serving_default"]
    given = {name: tf.constant(savedmodel.sent(rows[name].to_numpy())) for name in rows.columns}
    return model(**given)["prediction"].numpy()


def test_the_saved_model_answers_to_raw_columns_what_the_packaged_one_does(
    target, registry, keras_models, rows, tmp_path
):
    placed = target.put(registry.promote(1, keras_models[0]))

    expected = pyfunc.load(keras_models[0].path).predict(rows).prediction.to_numpy()
    assert np.allclose(served(tmp_path, rows), expected, atol=1e-6)
    assert placed.endpoint == str(tmp_path / "flights")
    assert placed.facts["inputs"] == "raw columns"
    assert placed.facts["rows compared"] > 250
    assert placed.facts["largest difference"] < 1e-5
    readme = (tmp_path / "flights" / "1" / "README.md").read_text()
    assert "- `word`: string" in readme
    assert '"instances": [{"size": 1.0, "hour": 1.0, "word": "AA"}]' in readme


def test_the_highest_number_is_the_champion_and_going_back_takes_it_away(
    target, registry, keras_models, rows, tmp_path
):
    first = registry.promote(1, keras_models[0])
    target.put(first)
    target.put(registry.promote(2, keras_models[1]))
    assert target.current().version == "2"

    registry.champion = first.champion
    target.put(first)

    assert versions_in(tmp_path) == [1]
    assert target.current() == first.deployment
    assert left_over(tmp_path) == []


def test_older_versions_go_and_one_that_went_is_built_again_on_the_way_back(target, registry, keras_models, tmp_path):
    first = registry.promote(1, keras_models[0])
    target.put(first)
    for version in (2, 3):
        target.put(registry.promote(version, keras_models[version - 1]))
    assert versions_in(tmp_path) == [2, 3]

    registry.champion = first.champion
    target.put(first)

    assert versions_in(tmp_path) == [1]


def test_deploying_twice_changes_nothing(target, registry, keras_models, tmp_path):
    order = registry.promote(1, keras_models[0])
    target.put(order)
    before = os.stat(tmp_path / "flights" / "1" / "saved_model.pb").st_mtime_ns

    assert not target.put(order).changed
    assert os.stat(tmp_path / "flights" / "1" / "saved_model.pb").st_mtime_ns == before


def test_a_forest_is_no_saved_model(target, registry, forest, tmp_path):
    with pytest.raises(ServingError, match=r"'sklearn' is no SavedModel[\s\S]*`triton`"):
        target.put(registry.promote(1, forest))
    assert versions_in(tmp_path) == left_over(tmp_path) == []


def test_an_export_that_answers_something_else_is_not_put_in_service(
    target, registry, keras_models, tmp_path, monkeypatch
):
    target.put(registry.promote(1, keras_models[0]))
    scaled = tf_features._scaled
    monkeypatch.setattr(tf_features, "_scaled", lambda feature, values: scaled(feature, values * 1.01))

    with pytest.raises(ServingError, match="it is not put in service"):
        target.put(registry.promote(2, keras_models[1]))
    assert versions_in(tmp_path) == [1]
    assert left_over(tmp_path) == []


def test_a_full_disk_leaves_the_former_version_in_service(target, registry, keras_models, tmp_path):
    target.put(registry.promote(1, keras_models[0]))
    order = registry.promote(2, keras_models[1])

    def full(into):
        shutil.copytree(keras_models[1].path, into / "model")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ServingError, match="is full; what was in service stays so"):
        target.put(replace(order, download=full))
    assert versions_in(tmp_path) == [1]
    assert left_over(tmp_path) == []


def test_a_version_that_is_not_the_champion_any_more_is_refused(target, registry, keras_models, tmp_path):
    late = registry.promote(1, keras_models[0])
    registry.promote(2, keras_models[1])

    with pytest.raises(ServingError, match="the champion is version 2"):
        target.put(late)
    assert versions_in(tmp_path) == []


def test_artifacts_that_were_changed_in_the_registry_are_not_exported(target, registry, keras_models, tmp_path):
    order = registry.promote(1, keras_models[0])
    other = replace(order, download=lambda into: shutil.copytree(keras_models[1].path, into / "model"))

    with pytest.raises(ArtifactError, match="is not the model that was registered"):
        target.put(other)
    assert versions_in(tmp_path) == left_over(tmp_path) == []


@pytest.mark.parametrize("after", [".partial-2", ".built-2", ".gone-1"])
def test_what_a_killed_deployment_left_is_cleared_away(target, registry, keras_models, tmp_path, after):
    target.put(registry.promote(1, keras_models[0]))
    (tmp_path / "flights" / after / "variables").mkdir(parents=True)

    target.put(registry.promote(2, keras_models[1]))

    assert left_over(tmp_path) == []
    assert versions_in(tmp_path) == [1, 2]
