"""Why a fault is not caught, in words: written by hand. Whether it is caught is measured."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {}
"""By the fault's name."""
