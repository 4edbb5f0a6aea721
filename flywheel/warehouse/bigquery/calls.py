"""How one call to Google Cloud is made; how often it is made again is the client library's, and told while it lasts."""

import logging
import sys
import time
import warnings

# Each of Google's libraries says that this Python grows old, whenever it is imported.
warnings.filterwarnings("ignore", "You are using a Python version", FutureWarning)

ANSWER = 120.0
"""Seconds to wait for an answer before a call is made again. The library's own default is for ever: a connection that a
network dropped without a word would hold up a run until somebody looks."""

LOADED = 3600.0
"""Seconds that BigQuery may take to load a file."""

_EACH, _LONGEST = 60.0, 200


class Waiting(logging.Handler):
    """Writes to standard error, once a minute, that a call is made again: it is for ten minutes."""

    said = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record unless one was written just now."""
        if self.said and time.monotonic() - self.said < _EACH:
            return
        self.said = time.monotonic()
        why = record.getMessage().removeprefix("Retrying due to ").rpartition(", sleeping")[0]
        print(f"Google Cloud does not answer, and is asked again: {why[:_LONGEST]}", file=sys.stderr)  # noqa: T201


_retries = logging.getLogger("google.api_core.retry")
_retries.setLevel(logging.DEBUG)
_retries.propagate = False
_retries.addHandler(Waiting())
