"""Whatever the pipeline, the order and the failures: the rules of what may run when hold."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.runner.graph import Graph
from flywheel.runner.nodes import Node
from flywheel.runner.result import CANCELLED, DONE, FAILED, SKIPPED, SUCCEEDED, Outputs, TaskError
from flywheel.runner.spec import INTEGER, Component, Container, Dag, Loop, Parameter, Pipeline, Task

JOB = {"pipeline_job_uuid": "id", "pipeline_job_resource_name": "run"}
LEAF = Component("leaf", Container("leaf", "image"))


@st.composite
def pipelines(draw):
    """Draw a pipeline with nested DAGs, loops, conditions and exit tasks."""
    components = {"leaf": LEAF}
    root = Component("root", draw_dag(draw, components, depth=0))
    return Pipeline("drawn", root, components, "")


def draw_dag(draw, components, depth):
    tasks = {}
    for number in range(draw(st.integers(1, 5))):
        name = f"t{number}"
        ordinary = [task.name for task in tasks.values() if not task.is_exit]
        after = tuple(draw(st.lists(st.sampled_from(ordinary), unique=True, max_size=3))) if ordinary else ()
        task = Task(name, name, draw_component(draw, components, depth), after=after)
        if draw(st.integers(0, 4)) == 0:
            task = replace(task, condition=draw(st.sampled_from(["1 == 1", "1 == 2", "unknown == 1"])))
        if after and draw(st.integers(0, 4)) == 0:
            task = replace(task, is_exit=True, condition="")
        if task.component != "leaf" and draw(st.booleans()):
            items = draw(st.lists(st.integers(0, 9), max_size=3))
            task = replace(task, loop=Loop("item", items=items, parallelism=draw(st.integers(0, 2))))
        tasks[name] = task
    return Dag(tasks)


def draw_component(draw, components, depth):
    if depth == 2 or draw(st.integers(0, 2)):
        return "leaf"
    name = f"dag{len(components)}"
    components[name] = LEAF  # keeps the name while what is inside is drawn
    inside = draw_dag(draw, components, depth + 1)
    components[name] = Component(name, inside, {"item": Parameter(INTEGER, optional=True)})
    return name


class World:
    """Runs a graph as a scheduler would, in any order, and holds it to the rules."""

    def __init__(self, pipeline, draw):
        self.draw = draw
        self.ended: list[str] = []
        self.began: list[Node] = []
        self.running: list[Node] = []
        self.stopped_after = -1
        self.graph = Graph(pipeline, Outputs(), JOB, self.on_end)

    def on_end(self, node):
        assert node.path not in self.ended, "a task ends once"
        assert node.state in (*DONE, FAILED, SKIPPED, CANCELLED)
        self.ended.append(node.path)

    def run(self, stop_at=None):
        self.graph.begin()
        step = 0
        while not self.graph.done:
            if step == stop_at:
                self.graph.stop()
                self.stopped_after = len(self.began)
            self.start_some()
            if self.running:
                self.finish_one()
            step += 1
            assert step < 10_000, "it comes to an end"
        assert not self.running
        assert set(self.ended) == set(self.graph.nodes), "every task ends"

    def start_some(self):
        while self.graph.ready and (not self.running or self.draw(st.booleans())):
            node = self.graph.ready.popleft()
            refusal = self.graph.why_not(node)
            if refusal:
                self.graph.end(node, refusal[0], error=TaskError(refusal[1]))
                continue
            self.check_start(node)
            self.began.append(node)
            self.running.append(node)

    def finish_one(self):
        node = self.running.pop(self.draw(st.integers(0, len(self.running) - 1)))
        if self.draw(st.integers(0, 5)) == 0:
            self.graph.end(node, FAILED, error=TaskError("drawn"))
        else:
            self.graph.end(node, SUCCEEDED, Outputs())

    def check_start(self, node):
        before = [node.scope.nodes[name] for name in node.task.after]
        assert all(each.path in self.ended for each in before), "no task begins before what it depends on has ended"
        if node.task.is_exit:
            return
        assert all(each.state in DONE for each in before), "none begins after one that failed or was skipped"
        others = [each for each in node.scope.nodes.values() if each.path in self.ended]
        assert not any(each.state == FAILED for each in others), "after a failure nothing of that DAG begins"


@settings(max_examples=100, deadline=None)
@given(pipelines(), st.data())
def test_tasks_run_in_order_end_once_and_not_after_a_failure(pipeline, data):
    world = World(pipeline, data.draw)

    world.run()

    failed = [node for node in world.graph.nodes.values() if node.state == FAILED]
    assert world.graph.state == (FAILED if failed else SUCCEEDED)


@settings(max_examples=100, deadline=None)
@given(pipelines(), st.data())
def test_an_exit_task_runs_once_and_after_everything_that_it_follows(pipeline, data):
    world = World(pipeline, data.draw)

    world.run()

    for node in world.graph.nodes.values():
        if not node.task.is_exit:
            continue
        followed = [node.scope.nodes[name] for name in node.task.after]
        assert node.began == any(each.began for each in followed)
        before = tuple(f"{each.path}{mark}" for each in followed for mark in "/.")
        inside = [world.ended.index(path) for path in world.ended if path.startswith(before)]
        assert all(at < world.ended.index(node.path) for at in inside)


@settings(max_examples=100, deadline=None)
@given(pipelines(), st.integers(0, 6), st.data())
def test_when_a_run_is_stopped_only_exit_tasks_of_exit_handlers_still_begin(pipeline, stop_at, data):
    world = World(pipeline, data.draw)

    world.run(stop_at)

    if world.stopped_after >= 0:
        assert all(node.is_protected for node in world.began[world.stopped_after :])


@settings(max_examples=100, deadline=None)
@given(pipelines(), st.data())
def test_no_more_iterations_of_a_loop_are_open_than_it_allows(pipeline, data):
    world = World(pipeline, data.draw)
    check = world.check_start

    def check_limits(node):
        check(node)
        for each in world.graph.nodes.values():
            if each.task.loop and each.task.loop.parallelism:
                assert each.open <= each.task.loop.parallelism

    world.check_start = check_limits
    world.run()
