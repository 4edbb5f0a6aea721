"""A stand-in for the API server of Kubeflow Pipelines and its controller of recurring runs, for the real kfp client.

What it is good for: whether our side asks in the right way, what it does when the other side fails (`StandIn.fail`),
and at which times of a clock that can be moved (`StandIn.advance`) recurring runs start runs: months in a second. What
it is not: Kubeflow. No step runs; what becomes of a run is what a test says (`StandIn.on_run`, `StandIn.play`).
Therefore:

- every request and answer is held against the OpenAPI description that the installed kfp-server-api was generated
  from, as its operations and models tell it (`openapi.py`); an exchange of another shape is an error (`violations`);
- cron, intervals, catchup and concurrency are those of the controller `scheduledworkflow` (`controller.py`, after its
  source in kubeflow/pipelines of August 2026): five or six fields, the second first, in the one time zone of the
  cluster; a new schedule counts from its start, else from its creation; without catchup the latest of the missed times
  alone is run; a schedule that is enabled again makes up for what it missed; deleted ones leave their runs behind;
- names that must be unique are refused with 409, unknown filters and page tokens with 400, as the server does.

What only this stand-in accepts proves nothing.
"""

from tests.stand_ins.kfp.server import StandIn

__all__ = ["StandIn"]
