"""How long one call to Google Cloud may take; how often it is made again is the client library's."""

ANSWER = 120.0
"""Seconds to wait for an answer before a call is made again. The library's own default is for ever: a connection that a
network dropped without a word would hold up a run until somebody looks."""

LOADED = 3600.0
"""Seconds that BigQuery may take to load a file."""
