"""KFP components, one file a stage: typed signatures over `flywheel.steps`, to compose in any pipeline of one's own."""

from flywheel.components.analyze import analyze
from flywheel.components.batch import batch
from flywheel.components.challenge import challenge
from flywheel.components.conclude import conclude
from flywheel.components.decide import decide
from flywheel.components.deploy import deploy
from flywheel.components.extract import extract
from flywheel.components.monitor import monitor
from flywheel.components.plan import plan
from flywheel.components.probe import probe
from flywheel.components.promote import promote
from flywheel.components.rejudge import rejudge
from flywheel.components.score import score
from flywheel.components.train import train
from flywheel.components.transform import transform
from flywheel.components.validate import validate
from flywheel.components.weigh import weigh

__all__ = [
    "analyze",
    "batch",
    "challenge",
    "conclude",
    "decide",
    "deploy",
    "extract",
    "monitor",
    "plan",
    "probe",
    "promote",
    "rejudge",
    "score",
    "train",
    "transform",
    "validate",
    "weigh",
]
