"""`index`: a Faiss index of embeddings, its recall judged against exact search before it is published."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from flywheel.config import Index
from flywheel.errors import MissingExtra
from flywheel.serving.folder import Deployment, path_of
from flywheel.serving.targets import Order, Placed
from flywheel.serving.targets.versions import Built, VersionFolder
from flywheel.spans import Span

try:
    import faiss  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtra("the target `index` needs Faiss", "pip install 'ai-flywheel[index]'.") from error

_README = """# A Faiss index

{rows:,} embeddings of {dimensions} numbers, by the layer `{layer}`; near means {metric}. Ask it with

    from pathlib import Path

    from flywheel.serving.nearest import Nearest

    index = Nearest.open(Path("<this folder>"))
    index.similar(["an id"], k={k})        # ids that are near those
    index.search(embeddings, k={k})        # of an array (rows, {dimensions})

`index.faiss` is Faiss' own format, `ids.parquet` has the id of each of its places.
"""


class Target:
    """A folder of numbered versions, of which the highest is to be loaded.

    Args:
        settings: `deploy` of flywheel.yaml, with the SQL text as its query.
        name: Of the model.
    """

    def __init__(self, settings: Index, name: str) -> None:
        self._settings, self._path = settings, path_of(settings.folder) / name

    def current(self) -> Deployment | None:
        """Return the version of the highest number."""
        return self._folder(None).current()

    def put(self, order: Order) -> Placed:
        """Embed the rows of the version's span and make their index the highest number, if its recall keeps the bar."""
        span = Span.parse(order.champion.span, self._settings.every)
        return self._folder(span).put(order)

    def _folder(self, span: Span | None) -> VersionFolder:
        return VersionFolder(self._path, partial(_built, self._settings, span), self._settings.keep)


def _built(settings: Index, span: Span | None, model: Path, into: Path) -> Built:
    from flywheel.serving import embedding, nearest

    assert span is not None, "only a version is built, and it is of a span"
    with tempfile.TemporaryDirectory(prefix="flywheel-index-") as folder:
        found = embedding.embed(model, settings, span, Path(folder))
        facts, checks = nearest.build(found, settings, into)
    said = {"rows": found.rows, "dimensions": found.dimensions, "layer": settings.layer, "metric": settings.metric}
    return Built({"format": "Faiss", "span": span.name, **facts}, _README.format(**said, k=settings.k), checks)
