"""Metrics, slices and paired tests of two models on the same rows."""
