"""Which container image a step runs in on a cluster; one machine runs every step in this environment instead."""

import os

REPOSITORY = os.environ.get("FLYWHEEL_IMAGES", "flywheel")
CPU = f"{REPOSITORY}/cpu:latest"
GPU = f"{REPOSITORY}/gpu:latest"
