"""Triton, which PyTorch's builds for GPUs bring along, is imported before TensorFlow: after it the process dies.

Both hold an LLVM of their own. Seen with TensorFlow 2.21 and PyTorch 2.13 on Python 3.13: `import tensorflow, triton`
ends by SIGSEGV, the other order does not; and `torch.export` imports Triton.
"""

from __future__ import annotations

import sys
from contextlib import suppress


class _TritonFirst:
    """Finds nothing; when TensorFlow is looked for, it imports Triton, where that is installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Return None: those that come after it find the module."""
        if name != "tensorflow":
            return
        sys.meta_path.remove(self)
        with suppress(ImportError):  # no such build of PyTorch is here
            __import__("triton")


def keep() -> None:
    """Keep the order in this process from now on."""
    if not any(isinstance(finder, _TritonFirst) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TritonFirst())
