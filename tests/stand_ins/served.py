"""What every stand-in is: a server of this machine in a thread of its own."""

import threading
from http.server import ThreadingHTTPServer


class Served:
    """Served from `serve` to the end of its `with` block; handlers find it as `self.server.stand_in`."""

    def serve(self, handler, kind=ThreadingHTTPServer):
        self._server = kind(("127.0.0.1", 0), handler)
        self._server.stand_in, self._server.daemon_threads = self, True
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
