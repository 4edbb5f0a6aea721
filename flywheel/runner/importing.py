"""`dsl.importer`: an artifact of what is already there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.runner.errors import InputError
from flywheel.runner.nodes import Node
from flywheel.runner.placeholders import fill
from flywheel.runner.result import Artifact, Outputs
from flywheel.runner.spec import Importer
from flywheel.runner.values import integral


def import_artifact(node: Node, importer: Importer, job: Mapping[str, str]) -> Outputs:
    """Return the artifact that an importer makes; what it points to is not touched.

    `reimport` makes no difference here: nothing is remembered of earlier imports.

    Raises:
        InputError: There is no URI.
    """
    parameters = node.inputs.parameters
    uri = parameters.get("uri") or fill(importer.uri, parameters, job)
    if not isinstance(uri, str) or not uri:
        raise InputError(f"the importer got {uri!r} as its URI", "give it the URI or path of what to import.")
    metadata: Any = fill(integral(dict(importer.metadata)), parameters, job)
    [name] = list(node.component.out_artifacts) or ["artifact"]
    slot = importer.slot
    return Outputs(artifacts={name: (Artifact(name, uri, metadata, slot.title, slot.version),)})
