"""What every stand-in is: a server of this machine in a thread of its own."""

import sys
import threading
from socketserver import ThreadingTCPServer


class _Server(ThreadingTCPServer):
    """Says nothing of clients that hang up, as those do that tests kill."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Served:
    """Served from `serve` to the end of its `with` block; handlers find it as `self.server.stand_in`."""

    def serve(self, handler):
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.stand_in = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self):
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self):
        """Its address, where it speaks HTTP."""
        return f"http://{self.address}"
