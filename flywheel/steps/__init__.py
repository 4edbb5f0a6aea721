"""The work itself, one file a stage: plain Python on folders, callable and testable with no Kubeflow at all."""
