"""Training on several machines: a `TrainJob` of Kubeflow Trainer, started, followed and cleaned up by the step."""
