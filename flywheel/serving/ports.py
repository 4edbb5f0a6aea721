"""Where a server listens, looked at before anything is loaded."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from flywheel.errors import ServingError


@dataclass(frozen=True)
class Ports:
    """Where a server listens.

    Attributes:
        host: Address to listen on; 0.0.0.0 for every network.
        rest: Port of the REST protocol.
        grpc: Port of the gRPC protocol; 0 for none.
        metrics: Port of the Prometheus metrics; 0 for none.
    """

    host: str = "127.0.0.1"
    rest: int = 8080
    grpc: int = 8081
    metrics: int = 8082

    @property
    def url(self) -> str:
        """Where this machine reaches the REST protocol."""
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.rest}"

    def check(self) -> None:
        """Return when all of them are free.

        Raises:
            ServingError: Another process listens there, this one may not, or two are the same.
        """
        given = {"--port": self.rest, "--grpc-port": self.grpc, "--metrics-port": self.metrics}
        asked = {option: port for option, port in given.items() if port}
        for option, port in asked.items():
            if list(asked.values()).count(port) > 1:
                raise ServingError(f"port {port} is asked for twice", f"give another one to `{option}`.")
            _check(self.host, port, option)


def _check(host: str, port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = "is in use" if "in use" in str(error) else f"cannot be had: {error.strerror}"
            off = ", or 0 for none" if option != "--port" else ""
            remedy = f"choose another one with `{option}`{off}."
            raise ServingError(f"port {port} of {host} {reason}", remedy) from None
