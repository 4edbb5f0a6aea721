"""What steps keep on this machine for those of later runs: what they made of a past that does not change.

It is found by all that it was made of, the code of the steps among it. It is only a help: on a cluster, or in a run
without cache, nothing is kept and nothing is found.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Made = TypeVar("Made")

KEPT = "FLYWHEEL_KEPT"
"""Environment variable by which the runner tells its steps where: the fingerprint of `CODE`, and its root."""
CODE = "import flywheel.steps.analyze, flywheel.steps.extract, flywheel.steps.validate"
"""All that keeps something: one step takes what another has kept."""
_FILE = "made.pickle"


class Kept:
    """Files and values by what they were made of; they are entries of the runner's cache, and go as those do.

    Args:
        root: That of the runner; None, and nothing is kept.
        code: What stands for the code that makes them.
    """

    def __init__(self, root: Path | None = None, code: str = "") -> None:
        self._cache, self._code = None, code
        if root:
            from flywheel.runner.cache import Cache

            self._cache = Cache(root)

    @classmethod
    def here(cls) -> Kept:
        """Return what the runner of this process keeps."""
        code, _, root = os.environ.get(KEPT, "").partition(":")
        return cls(Path(root), code) if root else cls()

    @classmethod
    def under(cls, root: Path) -> Kept:
        """Return what a runner of that root keeps, for a process that is none of its steps."""
        from flywheel.runner.cache import Cache

        return cls(root, Cache(root).code(CODE))

    def key(self, what: str, *made_of: Any) -> str:
        """Return the key of something.

        Args:
            what: Its kind.
            made_of: All that it depends on but the code, as JSON values.
        """
        told = json.dumps([what, self._code, made_of], sort_keys=True)
        return hashlib.blake2b(told.encode(), digest_size=20).hexdigest()

    def __contains__(self, key: str) -> bool:
        """Whether something is kept under a key, as far as can be said without looking at its files."""
        return self._cache is not None and key in self._cache

    def note(self, key: str, what: str) -> None:
        """Keep under a key that something is so, as of a `what`."""
        with tempfile.TemporaryDirectory(prefix="flywheel-kept-") as folder:
            self.keep(key, what, Path(folder))

    def take(self, key: str, folder: Path) -> dict[str, Any] | None:
        """Put the files under a key into `folder` and return what was noted of them; None when there are none."""
        if self._cache is None or key not in self._cache:
            return None
        found = self._cache.get(key, folder)
        return None if found is None else dict(found.parameters)

    def keep(self, key: str, what: str, folder: Path, **noted: Any) -> None:
        """Keep the files of `folder` under a key, with notes: JSON values."""
        if self._cache is not None:
            from flywheel.runner.result import Outputs

            self._cache.put(key, what, Outputs(noted), folder)

    def value(self, make: Callable[[], Made], what: str, *made_of: Any) -> Made:
        """Return what `make` returns, made now only if it is not kept.

        Args:
            make: Makes it; any object that can be pickled.
            what: Its kind.
            made_of: All that it depends on but the code, as JSON values.
        """
        key = self.key(what, *made_of)
        found: Made | None = self.found(key)
        if found is None:
            found = make()
            self.put(key, what, found)
        return found

    def found(self, key: str) -> Any:
        """Return the value under a key; None when there is none."""
        if key not in self:
            return None
        with tempfile.TemporaryDirectory(prefix="flywheel-kept-") as name:
            folder = Path(name, "files")
            if self.take(key, folder) is None:
                return None
            with (folder / _FILE).open("rb") as file:
                return pickle.load(file)

    def put(self, key: str, what: str, value: object) -> None:
        """Keep a value under a key; one that can be pickled, and is not None."""
        if self._cache is None:
            return
        with tempfile.TemporaryDirectory(prefix="flywheel-kept-") as name:
            folder = Path(name, "files")
            folder.mkdir()
            with (folder / _FILE).open("wb") as file:
                pickle.dump(value, file, protocol=5)  # arrays are read without another copy
            self.keep(key, what, folder)
