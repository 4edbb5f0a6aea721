"""Look for new data whenever told by HTTP, as Pub/Sub tells it: 2xx acknowledges a message, else it comes again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.pushers import Refused
from flywheel.trigger import Look

_LARGEST = 2**20  # bytes of a message, which are not looked at


class Together:
    """One look at a time; those who ask while one goes on share the next.

    Args:
        look: Looks for new data.
    """

    def __init__(self, look: Callable[[], Look]) -> None:
        self._look, self._lock = look, threading.Lock()
        self._begun = 0
        self._last: tuple[int, Look] | None = None

    def __call__(self) -> Look:
        """Return what a look found that began after this was asked."""
        asked = self._begun
        with self._lock:
            if self._last is not None and self._last[0] > asked:
                return self._last[1]
            self._begun += 1
            found = self._look()
            self._last = (self._begun, found)
            return found


def server(
    look: Callable[[], Look],
    host: str,
    port: int,
    tell: Callable[[str], object],
    admit: Callable[[str], None] | None = None,
) -> ThreadingHTTPServer:
    """Return a server that looks at each POST, and answers GET with whether it is there.

    What is posted is not looked at: it says no more than that it is time to look. So whoever is admitted can start no
    more than the one run of a span that there is to be anyway.

    Args:
        look: Looks for new data.
        host: Address to listen at.
        port: And port.
        tell: Called with a line for each look, and for each who is refused one.
        admit: Given the header `Authorization`, raises Refused for who may not; None admits all who reach the port.

    Raises:
        OSError: The port is taken.
    """
    together = Together(look)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60
        wbufsize = -1  # headers and body in one packet: two would wait for one another for 40 ms

        def do_GET(self) -> None:
            self._answer(200, {"listening": True})

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "0")
            if not length.isdigit() or int(length) > _LARGEST:
                self.close_connection = True
                self._answer(413, {"error": f"a message has at most {_LARGEST} bytes, and says how many"})
                return
            self.rfile.read(int(length))
            try:
                if admit:
                    admit(self.headers.get("Authorization", ""))
                found = together()
            except Refused as refused:
                tell(f"refused {self.client_address[0]}: {refused.why}")
                self._answer(refused.status, {"error": refused.why})
                return
            except FlywheelError as error:
                tell(f"error: {error}")
                self._answer(503, {"error": str(error)})
                return
            tell(f"{found.name} {found.span}: {'started' if found.started else found.why}")
            self._answer(200, asdict(found))

        def _answer(self, status: int, said: dict[str, Any]) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # whoever is being answered when it ends is answered

    return Server((host, port), Handler)
