"""The trees that every model is compared with."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from flywheel.errors import ConfigError
from flywheel.trainers.boosting import categorical, train
from flywheel.training import sklearn
from flywheel.training.context import FeatureSpec
from tests.trainers.tables import context_in, rows_of


def predictions(model, task="binary", seed=99):
    columns, labels = rows_of(task, 500, seed)
    return sklearn.predict(model, columns), labels


def test_a_binary_label_gets_one_probability_a_row(tmp_path):
    found, labels = predictions(train(context_in(tmp_path / "e")))

    assert found.shape == (500,)
    assert roc_auc_score(labels, found) > 0.8


def test_each_of_several_classes_gets_a_probability(tmp_path):
    found, labels = predictions(train(context_in(tmp_path / "e", "multiclass")), "multiclass")

    assert found.shape == (500, 3)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == labels).mean() > 0.6


def test_each_of_several_labels_gets_trees_of_its_own_from_the_rows_of_which_it_is_known(tmp_path):
    context = context_in(tmp_path / "e", "multilabel", parameters={"calibrate": True})
    found, labels = predictions(train(context), "multilabel")
    known = ~np.isnan(labels[:, 1])

    assert found.shape == (500, 2)
    assert roc_auc_score(labels[:, 0], found[:, 0]) > 0.7
    assert roc_auc_score(labels[known, 1], found[known, 1]) > 0.7


def test_weights_of_classes_are_refused_where_there_are_several_labels(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.weight"):
        train(context_in(tmp_path / "e", "multilabel", parameters={"class_weights": "balanced"}))


def test_a_class_that_no_training_row_has_gets_a_column_all_the_same(tmp_path):
    found, _ = predictions(train(context_in(tmp_path / "e", "multiclass", ("a", "b", "c", "rare"))), "multiclass")

    assert found.shape == (500, 4)
    assert found[:, 3].max() < 0.01


def test_a_number_is_predicted_as_such(tmp_path):
    found, values = predictions(train(context_in(tmp_path / "e", "regression")), "regression")

    assert found.shape == (500,)
    assert np.corrcoef(found, values)[0, 1] > 0.9


def test_it_stops_when_validation_rows_get_no_better_and_logs_what_they_said(tmp_path):
    logged = []
    context = context_in(
        tmp_path / "e",
        parameters={"patience": 3, "learning_rate": 0.5},
        record=lambda metrics, step: logged.append((metrics["val_loss"], step)),
    )
    model = train(context)

    assert model.n_iter_ < 50
    assert [step for _, step in logged] == list(range(model.n_iter_ + 1))
    assert min(logged)[0] < logged[0][0]


def test_equal_seeds_give_equal_models(tmp_path):
    one, two = (predictions(train(context_in(tmp_path / name)))[0] for name in ("one", "two"))

    assert one.tobytes() == two.tobytes()


def test_only_categories_of_few_values_are_taken_as_such():
    features = (
        FeatureSpec("number", "numeric", None),
        FeatureSpec("bucket", "bucket", 12, (), "int32"),
        FeatureSpec("few", "category", 254, (), "int32"),
        FeatureSpec("many", "category", 255, (), "int32"),
        FeatureSpec("words", "text", 20, (3,), "int32"),
    )

    assert categorical(features) == [False, False, True, False, True, True, True]


def test_class_weights_move_the_probabilities_towards_the_heavier_class(tmp_path):
    plain = predictions(train(context_in(tmp_path / "plain")))[0]
    heavy = predictions(train(context_in(tmp_path / "heavy", parameters={"class_weights": {1: 5.0}})))[0]

    assert heavy.mean() > plain.mean() + 0.15


def test_rows_of_no_weight_teach_nothing(tmp_path):
    def only_word_two(columns, labels):
        return (columns["word"] == 2).astype(float)

    found, _ = predictions(train(context_in(tmp_path / "e", weights=only_word_two)))
    columns, _ = rows_of("binary", 500, 99)

    assert found[columns["word"] == 0].mean() == pytest.approx(found[columns["word"] == 2].mean(), abs=0.1)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"max_leaf_node": 3}, "did you mean 'max_leaf_nodes'"),
        ({"max_iter": 0}, "max_iter: .*greater than or equal to 1; found 0"),
        ({"class_weights": {"2": 1.0}}, "names '2'(.|\n)*labels are 0, 1"),
        ({"class_weights": {"1": 0.0}}, "class weight of '1' is 0.0"),
    ],
)
def test_wrong_parameters_are_explained(tmp_path, parameters, said):
    with pytest.raises(ConfigError, match=said):
        train(context_in(tmp_path / "e", parameters=parameters))


def test_parameters_of_scikit_learn_are_handed_on_also_as_floating_point_numbers(tmp_path):
    model = train(context_in(tmp_path / "e", parameters={"max_leaf_nodes": 4.0, "max_iter": 20.0}))

    assert (model.max_leaf_nodes, model.max_iter) == (4, 20)
