from functools import partial

import pytest

from flywheel.runner import run as run_pipeline


@pytest.fixture
def run(tmp_path):
    """Run a pipeline with its folder in this test's own."""
    return partial(run_pipeline, root=tmp_path / "root")
