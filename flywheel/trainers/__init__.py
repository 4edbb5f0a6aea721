"""Trainers that come along, each useful as it stands, as `train.trainer: flywheel.trainers.boosting:train`."""
