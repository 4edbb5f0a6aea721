"""Start another Python with this very flywheel, whatever lies in the folder that it is started in."""

from __future__ import annotations

import sys
from pathlib import Path

import flywheel


def command(module: str, *arguments: str, python: str = sys.executable) -> list[str]:
    """Return the command that calls `main` of a module of flywheel's, with the working folder first on the path."""
    home = str(Path(flywheel.__file__).parent.parent)
    code = f"import sys; sys.path[0] = {home!r}; from {module} import main; sys.path[0] = ''; main()"
    return [python, "-c", code, *arguments]
