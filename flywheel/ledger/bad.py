"""Which spans the data gate found bad, as the newest history in the ledger tells."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.profiles.history import bad_spans

if TYPE_CHECKING:
    from flywheel.ledger import Ledger, Waiver


def known_bad(ledger: Ledger, name: str, span: str, waivers: Mapping[str, Waiver] | None = None) -> dict[str, str]:
    """Return why, for each span that runs up to `span` found bad and nobody has waived.

    Args:
        ledger: The ledger.
        name: Of the flywheel.
        span: Name of the newest span whose runs are asked.
        waivers: Those of the ledger, by span, where they are known already.

    Raises:
        LedgerError: The history was kept and is no longer there.
        ArtifactError: It is none.
    """
    with tempfile.TemporaryDirectory(prefix="flywheel-") as folder:
        file = ledger.history(name, span, Path(folder))
        if file is None:
            return {}
        return bad_spans(file, ledger.waivers(name) if waivers is None else waivers)
