"""The packaged model, and where it is served."""
