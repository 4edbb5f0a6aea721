"""`ondevice`: a LiteRT (TFLite) file for phones and small devices, size and loss judged before it is published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flywheel.artifacts import Check
from flywheel.config import OnDevice
from flywheel.serving import pyfunc
from flywheel.serving.export import litert, probe
from flywheel.serving.folder import Deployment, path_of
from flywheel.serving.targets import Order, Placed
from flywheel.serving.targets.versions import Built, VersionFolder

CHECKS = "checks.json"
_README = """# A LiteRT (TFLite) model

`model.tflite` takes what the transform makes of one row, each input of shape (1, …): {inputs}. The transform stands in
`state.json`: a vocabulary's place, a range's number, (value - mean) / deviation.
"""


class _Judged(Exception):
    """The file does not keep a bar."""

    def __init__(self, checks: tuple[Check, ...], facts: Mapping[str, Any]) -> None:
        super().__init__(checks)
        self.checks, self.facts = checks, facts


class Target:
    """A folder of numbered versions, of which the highest is to be fetched by devices.

    Args:
        settings: `deploy` of flywheel.yaml.
        name: Of the model.
    """

    def __init__(self, settings: OnDevice, name: str) -> None:
        self._settings = settings
        self._folder = VersionFolder(path_of(settings.folder) / name, self._build)

    def current(self) -> Deployment | None:
        """Return the version of the highest number."""
        return self._folder.current()

    def put(self, order: Order) -> Placed:
        """Write the version's file and make it the highest number, if it keeps the bars."""
        try:
            placed = self._folder.put(order)
        except _Judged as judged:
            return Placed(str(self._folder.path), False, judged.checks, judged.facts)
        folder = self._folder.path / order.champion.version
        checks = tuple(Check(**check) for check in json.loads((folder / CHECKS).read_text()))
        return Placed(placed.endpoint, placed.changed, checks, placed.facts)

    def _build(self, model: Path, into: Path) -> Built:
        predictor = pyfunc.load(model)
        rows = probe.frame(predictor, model)
        inputs = litert.write(predictor, into, rows, self._settings.quantise)
        loss = probe.parity(predictor, rows, lambda given: litert.ask(predictor, into, given), tolerance=float("inf"))
        megabytes = (into / litert.FILE).stat().st_size / 1e6
        facts = {
            "format": "LiteRT",
            "quantised": self._settings.quantise,
            "megabytes": megabytes,
            "mean difference": loss.mean,
            "largest difference": loss.largest,
            "rows compared": loss.rows,
        }
        checks = self._checks(megabytes, loss)
        if any(check.result == "fail" for check in checks):
            raise _Judged(checks, facts)
        (into / CHECKS).write_text(json.dumps([vars(check) for check in checks]))
        shutil.copyfile(model / "data" / pyfunc.PAYLOAD / pyfunc.STATE, into / pyfunc.STATE)
        return Built(facts, _README.format(inputs=", ".join(f"`{name}` ({dtype})" for name, dtype in inputs.items())))

    def _checks(self, megabytes: float, loss: probe.Parity) -> tuple[Check, ...]:
        given = self._settings
        large, far = megabytes > given.max_mb, loss.mean > given.max_loss
        return (
            Check(
                f"at most {given.max_mb:g} MB",
                "fail" if large else "pass",
                observed=megabytes,
                bound=given.max_mb,
                reason=f"the file has {megabytes:.3g} MB",
                remedy="quantise it, or train a smaller model." if large else "",
            ),
            Check(
                f"mean difference at most {given.max_loss:g}",
                "fail" if far else "pass",
                observed=loss.mean,
                bound=given.max_loss,
                rows=loss.rows,
                reason=f"predictions differ by {loss.mean:.3g} from the packaged model's on average",
                remedy="quantise less: `dynamic`, or `none`." if far else "",
            ),
        )
