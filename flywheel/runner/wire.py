"""Messages between the scheduler and the warm server: JSON with its length in front, over a pair of sockets."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")


def pack(message: dict[str, Any]) -> bytes:
    """Return the bytes of a message."""
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


class Inbox:
    """Takes bytes as they come and gives whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the messages that `data` completes."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            messages.append(json.loads(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return messages


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Return the next bytes, and the file descriptors that came with them; no bytes at the end."""
    try:
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 1)
    except ConnectionError:
        return b"", []
    return data, list(descriptors)
