"""Import libraries that take their time, and talk meanwhile."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile


def import_quietly(module: str, what: str) -> None:
    """Import a module, and keep to ourselves what its libraries print meanwhile, unless it fails.

    Args:
        module: Its name.
        what: What takes so long about it, for whoever waits.
    """
    if module in sys.modules:
        return
    print(f"importing {what}, which takes some seconds", file=sys.stderr, flush=True)  # noqa: T201
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            importlib.import_module(module)
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
