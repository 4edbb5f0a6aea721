"""Which spans the data gate found bad, as the newest history in the ledger tells."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.profiles.history import bad_spans

if TYPE_CHECKING:
    from flywheel.ledger import Ledger


def known_bad(ledger: Ledger, name: str, span: str) -> dict[str, str]:
    """Return why, for each span that runs up to `span` found bad and nobody has waived.

    Args:
        ledger: The ledger.
        name: Of the flywheel.
        span: Name of the newest span whose runs are asked.

    Raises:
        LedgerError: The history was kept and is no longer there.
        ArtifactError: It is none.
    """
    with tempfile.TemporaryDirectory(prefix="flywheel-") as folder:
        file = ledger.history(name, span, Path(folder))
        return bad_spans(file, ledger.waivers(name)) if file else {}
