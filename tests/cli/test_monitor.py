"""`flywheel monitor`, where there is nothing to look at."""

import pytest

from tests.cli.test_batch import champion, project  # noqa: F401 - fixtures
from tests.serving.targets.conftest import forest, packaged, state  # noqa: F401 - fixtures


@pytest.mark.slow
def test_a_look_that_ends_before_it_has_a_span_says_why(command, project, champion):  # noqa: F811
    done = command("monitor", project, "--set", "deploy.target=local", "--set", "deploy.log.sample=1.0")

    assert done.code == 1
    assert done.out.splitlines()[-3] == "monitor: failed"
    assert "no requests are logged" in done.out.splitlines()[-2]
