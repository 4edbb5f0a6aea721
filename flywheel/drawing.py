"""A process that draws charts for the steps of a runner: what draws takes a third of a second to start, in each anew.

It runs as `python -I -m flywheel.drawing SOCKET OWNER`, is started by the first step that draws, and goes with the
runner, or when nobody has asked for long. It is only a help: who does not reach it draws by itself.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from flywheel.standby import Standby

CHARTS = "FLYWHEEL_CHARTS"
"""Environment variable by which a runner tells its steps where the engine listens."""
_MOST = 2000
"""Charts after which another one takes its place: engines grow."""
_PATIENCE = 10.0


def place_of(runner: int) -> str:
    """Return where the engine of a runner, a process, listens; empty where others could listen too."""
    folder = Path(tempfile.gettempdir(), f"flywheel-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owned = folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o077
    except OSError:
        return ""
    return str(folder / f"charts-{runner}") if owned else ""


def drawn(spec: Mapping[str, Any]) -> str:
    """Return a Vega-Lite specification as SVG, drawn by the runner's engine; empty where there is none, or not yet."""
    place = os.environ.get(CHARTS)
    if not place:
        return ""
    with suppress(OSError, ValueError):  # it is in trouble, or this is no JSON: drawing it here says more
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_PATIENCE)
                connection.connect(place)
                connection.sendall(json.dumps(spec).encode())
                connection.shutdown(socket.SHUT_WR)
                return _all(connection).decode()
        except (FileNotFoundError, ConnectionRefusedError):
            _start(place)
    return ""


@cache
def _start(place: str) -> None:
    """Start an engine for those that draw next; this process draws by itself."""
    subprocess.Popen(
        [sys.executable, "-I", "-m", __name__, place, place.rpartition("-")[2]],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def serve(path: Path, owner: int) -> None:
    """Draw what is asked for at a socket until the owner is gone."""
    import vl_convert

    standby = Standby(path, owner)
    for connection in islice(standby.asked(), _MOST):
        connection.settimeout(_PATIENCE)
        with suppress(OSError, ValueError):  # who asked draws it again, and tells what is wrong
            connection.sendall(vl_convert.vegalite_to_svg(json.loads(_all(connection))).encode())
    standby.leave()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Path(sys.argv[1]), int(sys.argv[2]))
