"""Run a step in this process, so that a debugger can be at it."""

from __future__ import annotations

import os
import pdb
import sys
import traceback
from typing import Any

from flywheel.runner import child
from flywheel.runner.warm import StepEnded


def debug_job(job: dict[str, Any], post_mortem: Any = pdb.post_mortem) -> StepEnded:
    """Run a job here, with its output on the terminal; open the debugger where it fails.

    Args:
        job: What to run.
        post_mortem: What is given the traceback of a failure.
    """
    environment, folder, path = dict(os.environ), os.getcwd(), list(sys.path)
    try:
        os.environ.update({**job["env"], "_KFP_RUNTIME": "true"})
        os.chdir(job["cwd"])
        return StepEnded(job["id"], child.execute(job))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        traceback.print_exception(error)
        post_mortem(child.own_frames(error.__traceback__, job["program"]))
        return StepEnded(job["id"], 1, error=child.describe(error))
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.path[:] = path
