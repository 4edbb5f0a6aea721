"""What a new model takes from the one in service, when vocabularies, ranges and scales have moved."""

import numpy as np
import pyarrow as pa
import pytest

from flywheel.serving.pyfunc import Predictor
from flywheel.training import frameworks
from flywheel.training.warm_start import cardinalities, decide
from flywheel.transform.analysis import Analysis
from tests.training.worlds import FEATURES, SCHEMA

torch = pytest.importorskip("torch")


def batch_of(words, sizes=(8.0, 12.0), hours=range(24)):
    """Rows with all of `words`, the first ones more often; sizes and hours go round."""
    column = [word for rank, word in enumerate(words) for _ in range(24 * (len(words) - rank))]
    count = len(column)
    columns = [
        pa.array(np.resize(sizes, count), pa.float64()),
        pa.array(np.resize(list(hours), count), pa.int64()),
        pa.array(column),
        pa.array(np.arange(count) % 2),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def state_of(batch, features=FEATURES):
    analysis = Analysis(features, "label")
    analysis.add(batch)
    return analysis.finish(SCHEMA)


class Network(torch.nn.Module):
    """A table for each index, the number beside them."""

    def __init__(self, hours, words, units=4, classes=1):
        super().__init__()
        self.tables = torch.nn.ModuleList([torch.nn.Embedding(hours, 2), torch.nn.Embedding(words, 3)])
        self.hidden, self.answer = torch.nn.Linear(6, units), torch.nn.Linear(units, classes)

    def forward(self, inputs):
        hour, word = self.tables[0](inputs["hour"]), self.tables[1](inputs["word"])
        joined = torch.cat([hour, word, inputs["size"].unsqueeze(1)], 1)
        return torch.sigmoid(self.answer(torch.relu(self.hidden(joined))))


def network(state, **options):
    return Network(*cardinalities(state).values(), **options)


BEFORE, AFTER = batch_of("abcd"), batch_of("cebd")


def predictions(framework, model, state, batch):
    return frameworks.get(framework).predict(model, state.apply_batch(batch)).reshape(-1)


def test_rows_whose_values_both_know_are_predicted_as_before(tmp_path):
    old, new = state_of(BEFORE), state_of(AFTER)
    champion, model = network(old), network(new)
    frameworks.get("torch").save(champion, tmp_path, old.apply_batch(BEFORE))
    decision = decide(model, "torch", new, Predictor(old, frameworks.get("torch").load(tmp_path), "torch"))
    rows = batch_of("bcd")

    assert str(decision) == "warm: 4 of 4 layers, word vocabulary 1 new 1 gone"
    assert np.allclose(predictions("torch", model, new, rows), predictions("torch", champion, old, rows), atol=1e-6)


def test_a_new_value_starts_as_the_mean_of_those_known():
    old, new = state_of(BEFORE), state_of(AFTER)
    champion, model = network(old), network(new)
    decide(model, "torch", new, Predictor(old, champion, "torch"))
    known, given = champion.tables[1].weight.detach()[2:], model.tables[1].weight.detach()
    place = new.apply_batch(batch_of("e"))["word"][0]

    assert torch.allclose(given[place], known.mean(0), atol=1e-6)
    assert torch.equal(given[:2], champion.tables[1].weight.detach()[:2])  # missing, and not in the vocabulary


def test_ranges_of_numbers_start_as_the_range_that_held_their_middle():
    old, new = state_of(BEFORE), state_of(batch_of("abcd", hours=range(10, 24)))
    champion, model = network(old), network(new)
    decision = decide(model, "torch", new, Predictor(old, champion, "torch"))
    late = model.tables[0].weight[new.apply_batch(batch_of("a", hours=[23]))["hour"][0]]

    assert "hour ranges moved" in decision.reason
    assert torch.equal(late, champion.tables[0].weight[old.apply_batch(batch_of("a", hours=[23]))["hour"][0]])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"units": 8}, "cold: hidden/weight changed from 4 x 6 to 8 x 6"),
        ({"classes": 3}, "warm: 3 of 4 layers"),
    ],
)
def test_another_number_of_units_starts_cold_and_other_classes_only_the_last_layer(options, said):
    old = state_of(BEFORE)
    model = network(old, **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    decision = decide(model, "torch", old, Predictor(old, network(old), "torch"))

    assert str(decision) == said
    assert decision.warm or all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_another_framework_or_other_inputs_start_cold():
    from sklearn.linear_model import LogisticRegression

    old, fewer = state_of(BEFORE), state_of(BEFORE, FEATURES[1:])
    champion = Predictor(old, network(old), "torch")

    assert str(decide(network(old), "torch", old, Predictor(old, LogisticRegression(), "sklearn"))).startswith(
        "cold: the champion is of sklearn"
    )
    assert decide(LogisticRegression(), "sklearn", old, champion).reason == "models of scikit-learn start anew"
    assert decide(network(fewer), "torch", fewer, champion).reason == "other inputs: -size"


def keras_network(state, units=4):
    import keras

    hours, words = cardinalities(state).values()
    inputs = {
        "size": keras.Input((1,), name="size"),
        "hour": keras.Input((1,), name="hour", dtype="int32"),
        "word": keras.Input((1,), name="word", dtype="int32"),
    }
    flat = [
        keras.layers.Flatten()(keras.layers.Embedding(size, 3)(inputs[name]))
        for name, size in (("hour", hours), ("word", words))
    ]
    joined = keras.layers.Concatenate()([inputs["size"], *flat])
    hidden = keras.layers.Dense(units, activation="relu")(joined)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))


@pytest.mark.slow
def test_a_number_that_is_scaled_otherwise_is_made_up_for_in_keras(tmp_path):
    old, new = state_of(BEFORE), state_of(batch_of("cebd", sizes=(5.0, 25.0)))
    champion, model = keras_network(old), keras_network(new)
    champion.save(tmp_path / "model.keras")
    decision = decide(model, "keras", new, Predictor(old, frameworks.get("keras").load(tmp_path), "keras"))
    rows = batch_of("bcd", sizes=(1.0, 9.0, 30.0))

    assert str(decision) == "warm: 4 of 4 layers, word vocabulary 1 new 1 gone, 1 numbers rescaled"
    assert np.allclose(predictions("keras", model, new, rows), predictions("keras", champion, old, rows), atol=1e-6)
    assert decide(keras_network(new, units=8), "keras", new, Predictor(old, champion, "keras")).reason == (
        "dense_1/kernel changed from 7 x 4 to 7 x 8"
    )
