"""Embeddings of a Keras layer in a Faiss index whose recall is judged."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("faiss")

import faiss

from flywheel.config import Index
from flywheel.errors import ConfigError, DataError, ServingError
from flywheel.serving import nearest, pyfunc
from flywheel.serving.embedding import Embeddings
from flywheel.serving.nearest import Nearest
from flywheel.serving.targets import open_target
from tests.serving.targets.conftest import packaged
from tests.serving.targets.test_batch import QUERY, visits
from tests.training.worlds import batch_of

ITEMS = "SELECT 'item ' || CAST(id AS STRING) AS item, size, hour, word FROM visits WHERE at >= @start AND at < @end"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visits")
    visits(folder / "visits.parquet", 400)
    return f"parquet:///{folder}"


@pytest.fixture(scope="module")
def embedder(state, tmp_path_factory):
    import keras

    keras.utils.set_random_seed(0)
    inputs = {each.name: keras.Input((), name=each.name) for each in state.inputs}
    columns = [keras.layers.Reshape((1,))(keras.ops.cast(each, "float32")) for each in inputs.values()]
    hidden = keras.layers.Dense(8, activation="tanh", name="embedding")(keras.layers.Concatenate()(columns))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="late")(hidden))
    return packaged(model, "keras", state, tmp_path_factory.mktemp("embedder") / "m"), keras.Model(inputs, hidden)


@pytest.fixture
def target(warehouse, tmp_path):
    def make(**given):
        asked = {"target": "index", "folder": str(tmp_path / "items"), "id": "item", "layer": "embedding", **given}
        settings = Index.model_validate({"query": ITEMS, "warehouse": warehouse, **asked})
        return open_target(settings.text(), "flights")

    return make


def vectors_of(embedder, seed=1):
    """Return the embeddings of a day's rows, of length 1."""
    inputs = pyfunc.load(embedder[0].path).inputs(batch_of(400, seed=seed))
    found = embedder[1].predict(inputs, verbose=0)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_an_index_finds_what_is_near_by_the_layers_output(target, embedder, registry, tmp_path):
    placed = target().put(registry.promote(1, embedder[0]))

    assert placed.verdict.ok
    assert placed.checks[0].observed == 1.0
    assert (placed.facts["rows"], placed.facts["dimensions"], placed.facts["kind"]) == (400, 8, "Flat")
    index = Nearest.open(tmp_path / "items" / "flights" / "1")
    vectors = vectors_of(embedder)
    near = vectors @ vectors[7]
    ids, found = index.search(vectors[7:8], k=5)
    assert found[0] == pytest.approx(np.sort(near)[::-1][:5], abs=1e-5)
    assert [near[int(id.split()[1])] for id in ids[0]] == pytest.approx(found[0], abs=1e-5)
    (similar,) = index.similar(["item 7"], k=5)
    assert len(similar) == 5
    assert "item 7" not in similar


def test_promoting_again_changes_nothing_and_going_back_takes_the_higher_number_away(
    target, embedder, registry, tmp_path
):
    first = registry.promote(1, embedder[0])
    target().put(first)
    assert not target().put(first).changed

    target().put(registry.promote(2, embedder[0]))
    assert target().current().version == "2"
    registry.champion = first.champion
    again = target().put(first)

    assert target().current().version == "1"
    assert [check.name for check in again.checks] == ["recall of the 10 nearest at least 0.95"]


def test_an_index_that_finds_too_little_is_not_published(target, embedder, registry, tmp_path):
    target().put(registry.promote(1, embedder[0]))

    placed = target(kind="PQ1x2", min_recall=0.999).put(registry.promote(2, embedder[0]))

    assert not placed.verdict.ok
    assert "nearest that exact search finds" in placed.verdict.why
    assert "Flat, which is exact" in placed.checks[0].remedy
    assert target().current().version == "1"


def embeddings(rows, dimensions=16, seed=0):
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(50, dimensions))
    vectors = centres[draw.integers(0, 50, rows)] + draw.normal(0, 0.3, (rows, dimensions))
    return Embeddings(pa.array(np.arange(rows)), vectors.astype(np.float32), Counter())


def settings(**given):
    return Index(target="index", folder="x", id="id", layer="embedding", **given)


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
@pytest.mark.parametrize("kind", ["HNSW32", "IVF64,Flat"])
def test_a_search_tries_as_hard_as_the_bar_wants_and_no_harder(tmp_path, metric, kind):
    found = embeddings(6000)
    efforts = []
    for bar in (0.5, 0.99):
        folder = tmp_path / f"{bar}"
        folder.mkdir()
        facts, (check,) = nearest.build(found, settings(metric=metric, kind=kind, min_recall=bar), folder)
        assert check.observed >= bar - 0.02
        efforts.append(facts["effort of a search"])
    assert efforts[0] <= efforts[1]
    index = Nearest.open(folder)
    assert len(index.similar([17], k=10)[0]) == 10


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
def test_recall_is_the_share_of_the_nearest_that_are_found(metric, monkeypatch):
    monkeypatch.setattr(nearest, "_CHUNK", 999)  # so the last one has fewer rows than neighbours are asked for
    found = embeddings(3000)
    unit = metric == "cosine"
    vectors = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True) if unit else found.vectors
    queries = np.arange(40)
    exact = nearest._Exact.of(found.vectors, queries, 10, unit, metric)
    index = faiss.IndexHNSWFlat(16, 4, faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)
    index.add(np.ascontiguousarray(vectors, np.float32))
    index.hnsw.efSearch = 4

    recalls = exact.recall(index, slice(None))

    for query, recall in zip(queries, recalls, strict=True):
        near = ((vectors - vectors[query]) ** 2).sum(1) if metric == "l2" else -(vectors @ vectors[query])
        near[query] = np.inf
        best = set(np.argsort(near)[:10])
        _, places = index.search(np.ascontiguousarray(vectors[query : query + 1], np.float32), 11)
        others = [place for place in places[0] if place not in (query, -1)]
        assert recall == pytest.approx(min(10, len(best & set(others))) / 10)
    assert recalls.mean() < 0.99


def test_rows_that_are_equal_stand_for_each_other(tmp_path):
    vectors = np.repeat(np.eye(4, dtype=np.float32), 50, axis=0)
    found = Embeddings(pa.array(np.arange(200)), vectors, Counter())

    _, (check,) = nearest.build(found, settings(), tmp_path)

    assert check.observed == 1.0


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"layer": "embeding"}, ServingError, "did you mean 'embedding'"),
        ({"id": "items"}, DataError, "deploy.id names the column 'items'(.|\n)*did you mean 'item'"),
        ({"query": ITEMS.replace("CAST(id AS STRING)", "word")}, DataError, r"stands \d+ times|rows have no id"),
        ({"query": ITEMS.replace("'item ' || CAST(id AS STRING)", "NULLIF(id, 3)")}, DataError, "1 rows have no id"),
        ({"kind": "Hsnw32"}, ConfigError, "Faiss makes no index 'Hsnw32'"),
        ({"kind": "IVF9999,Flat"}, ConfigError, "Faiss makes no index 'IVF9999,Flat' of 400 vectors"),
    ],
)
def test_wrong_input_is_named(target, embedder, registry, tmp_path, given, error, message):
    order = registry.promote(1, embedder[0])
    with pytest.raises(error, match=message):
        target(**given).put(order)
    assert not (tmp_path / "items" / "flights" / "1").exists()


def test_a_layer_of_one_number_and_ids_that_are_numbers_make_an_index_too(target, embedder, registry):
    placed = target(query=QUERY, id="id", layer="late", metric="l2").put(registry.promote(1, embedder[0]))

    assert placed.facts["dimensions"] == 1


def test_a_forest_has_no_layers(target, forest, registry):
    with pytest.raises(ServingError, match="'sklearn' has no layers"):
        target().put(registry.promote(1, forest))


def test_questions_that_an_index_cannot_answer_are_refused(target, embedder, registry, tmp_path):
    target().put(registry.promote(1, embedder[0]))
    index = Nearest.open(tmp_path / "items" / "flights" / "1")

    with pytest.raises(ServingError, match="the id 'item 9999' is not in the index"):
        index.similar(["item 1", "item 9999"])
    with pytest.raises(ServingError, match=r"vectors of shape \(1, 3\)"):
        index.search(np.zeros((1, 3)))
    with pytest.raises(ServingError, match="there is no index in"):
        Nearest.open(tmp_path)
    assert json.loads((tmp_path / "items" / "flights" / "1" / "about.json").read_text())["layer"] == "embedding"
