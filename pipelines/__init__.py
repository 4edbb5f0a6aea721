"""Pipelines composed of the components; each is a function from a project to a KFP pipeline."""
