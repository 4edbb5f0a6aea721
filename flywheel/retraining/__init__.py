"""Is a training worth it? What is known of the champion, and what a policy makes of it.

A policy sees `Evidence` and nothing else, so that a run and a backtest decide alike.
"""

from flywheel.retraining.asked import asked_for
from flywheel.retraining.evidence import Evidence, Gain, Reference
from flywheel.retraining.losses import LossCurve
from flywheel.retraining.policies import Choice, weigh

__all__ = ["Choice", "Evidence", "Gain", "LossCurve", "Reference", "asked_for", "weigh"]
