"""A TrainJob from its beginning to its end: by the real client, against the stand-in."""

import pytest

from flywheel.errors import ClusterError, TrainerError
from flywheel.trainjob.cluster import Outage
from flywheel.trainjob.follow import Followed
from flywheel.trainjob.manifest import body
from tests.stand_ins.kubernetes.server import PODS

pytest.importorskip("jsonschema")  # the stand-in needs it


def owner(kubernetes, name):
    """Make a pod that can own a job: what has no owner that there is, the garbage collector takes away."""
    pod = kubernetes.put(PODS, {"metadata": {"name": name, "uid": f"uid-{name}", "labels": {}}})
    return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod["metadata"]["uid"]}


def created(kubernetes):
    return [path for verb, path in kubernetes.asked if verb == "create"]


def test_it_is_created_followed_and_deleted(kubernetes, follow, plan):
    kubernetes.story = [kubernetes.trainer.start, kubernetes.trainer.finish]
    told = follow(plan())

    assert told == [
        "TrainJob flights-0a1b2c3d4e-0: 2 nodes",
        "TrainJob flights-0a1b2c3d4e-0 has 0 of 2 nodes",
        "TrainJob flights-0a1b2c3d4e-0 is at work on 2 nodes",
        "TrainJob flights-0a1b2c3d4e-0 is complete",
    ]
    assert not kubernetes.jobs()


def test_a_step_that_is_tried_again_finds_its_job(kubernetes, cluster, follow, plan):
    cluster.create(body(plan(), 0, 0, spot=False))
    kubernetes.trainer.start()
    kubernetes.story = [kubernetes.trainer.finish]
    told = follow(plan())

    assert len(created(kubernetes)) == 1
    assert "is there already" in told[0]


def test_a_job_that_is_found_goes_with_the_step_that_found_it_too(kubernetes, cluster, clock, plan):
    from dataclasses import replace

    old, new = owner(kubernetes, "first-try"), owner(kubernetes, "second-try")
    cluster.create(body(replace(plan(), owner=old), 0, 0, spot=False))
    seen = []

    def look():
        seen.extend(kubernetes.trainer.newest()["metadata"]["ownerReferences"])
        kubernetes.trainer.finish()

    kubernetes.story = [look]
    Followed(cluster, replace(plan(), owner=new), every=1.0, clock=clock, tell=lambda _: None).run()

    assert seen == [old, new]


def test_a_queue_is_waited_for(kubernetes, follow, plan):
    kubernetes.story = [kubernetes.trainer.admit, kubernetes.trainer.finish]

    assert "TrainJob flights-0a1b2c3d4e-0 waits in the queue 'team-a'" in follow(plan(queue="team-a"))


def test_a_queue_that_never_admits_is_an_error_in_kueues_words(kubernetes, follow, plan, clock):
    why = "couldn't assign flavors to pod set node: insufficient quota for nvidia.com/gpu in flavor default"
    kubernetes.story = [lambda: kubernetes.trainer.say_queue(why), lambda: clock.sleep(3601)]

    with pytest.raises(ClusterError, match=r"did not start within 3600 s: it waits in the queue 'team-a': couldn't"):
        follow(plan(queue="team-a", gpu=8, start_within="1h"))
    assert not kubernetes.jobs()


def test_a_queue_that_nobody_looks_at_is_told_apart(kubernetes, follow, plan, clock):
    kubernetes.story = [lambda: clock.sleep(3601)]

    with pytest.raises(ClusterError, match="is Kueue there"):
        follow(plan(queue="team-a", start_within="1h"))


def test_nodes_that_never_come_are_an_error_in_the_schedulers_words(kubernetes, follow, plan, clock):
    kubernetes.story = [
        lambda: kubernetes.trainer.pend("0/5 nodes are available: 5 Insufficient nvidia.com/gpu."),
        lambda: clock.sleep(3601),
    ]

    with pytest.raises(ClusterError, match=r"has 0 of 2 nodes: 0/5 nodes are available: 5 Insufficient"):
        follow(plan(gpu=1, start_within="1h"))
    assert not kubernetes.jobs()


def test_a_trainer_that_fails_is_shown_with_the_log_of_the_node_that_failed_first(kubernetes, follow, plan):
    kubernetes.plays("kubelet that keeps logs")
    play = kubernetes.trainer

    def fail():
        play.die(1, 1, ["epoch 1", "ValueError: labels are missing"])
        play.die(0, 134, ["connection closed by peer"], why="Error")
        play.fail()

    kubernetes.story = [play.start, fail]
    with pytest.raises(TrainerError) as caught:
        follow(plan())

    assert "FailedJobs" in caught.value.message
    assert "node 1 (pod flights-0a1b2c3d4e-0-node-0-1-2) ended first: exit code 1" in caught.value.message
    assert "ValueError: labels are missing" in caught.value.message
    assert "connection closed" not in caught.value.message
    assert list(kubernetes.jobs()) == ["flights-0a1b2c3d4e-0"]


def test_a_step_tried_again_after_that_says_the_same_and_trains_nothing(kubernetes, follow, plan):
    kubernetes.story = [kubernetes.trainer.start, kubernetes.trainer.fail]
    for _ in range(2):
        with pytest.raises(TrainerError, match="FailedJobs"):
            follow(plan())

    assert len(created(kubernetes)) == 1


def test_memory_that_ran_out_is_called_that(kubernetes, follow, plan):
    play = kubernetes.trainer
    kubernetes.story = [play.start, lambda: (play.die(0, 137, why="OOMKilled"), play.fail())]

    with pytest.raises(TrainerError, match=r"OOMKilled(?s:.*)raise train.resources.memory"):
        follow(plan())


def test_time_that_ran_out_is_called_that(kubernetes, follow, plan):
    play = kubernetes.trainer
    kubernetes.story = [play.start, lambda: play.fail("DeadlineExceeded", "TrainJob exceeded its active deadline")]

    with pytest.raises(TrainerError, match=r"raise train.resources.timeout"):
        follow(plan(timeout="1h"))


def test_nodes_that_are_taken_come_again(kubernetes, follow, plan):
    play = kubernetes.trainer
    kubernetes.story = [play.start, lambda: play.take(0, 1), play.finish]
    told = follow(plan(spot=True))

    assert "TrainJob flights-0a1b2c3d4e-0 has lost 2 of its pods to the cluster, time 1" in told
    assert len(created(kubernetes)) == 1


def test_a_job_that_fails_of_it_is_followed_by_another_on_spot_nodes(kubernetes, follow, plan):
    play, seen = kubernetes.trainer, []

    def start():
        seen.append(play.newest())
        play.start()

    kubernetes.story = [start, lambda: (play.take(1, again=False), play.fail()), start, play.finish]
    follow(plan(spot=True))

    assert [job["metadata"]["name"] for job in seen] == ["flights-0a1b2c3d4e-0", "flights-0a1b2c3d4e-1"]
    assert [job["metadata"]["annotations"]["ai-flywheel/spot"] for job in seen] == ["true", "true"]
    assert seen[1]["metadata"]["annotations"]["ai-flywheel/preemptions"] == "1"


def test_after_so_many_losses_it_goes_on_where_it_is_left_alone(kubernetes, follow, plan):
    play, seen = kubernetes.trainer, []

    def start():
        seen.append(play.newest()["metadata"]["annotations"]["ai-flywheel/spot"])
        play.start()

    lose = lambda: play.take(0)  # noqa: E731
    kubernetes.story = [start, lose, lose, start, play.finish]
    told = follow(plan(spot={"retries": 1}))

    assert seen == ["true", "false"]
    assert told[-3:] == [
        "TrainJob flights-0a1b2c3d4e-1 has 0 of 2 nodes",
        "TrainJob flights-0a1b2c3d4e-1 is at work on 2 nodes",
        "TrainJob flights-0a1b2c3d4e-1 is complete",
    ]


def test_without_a_fallback_it_ends_there(kubernetes, follow, plan):
    play = kubernetes.trainer
    kubernetes.story = [play.start, lambda: play.take(0)]

    with pytest.raises(ClusterError, match=r"lost its nodes 1 times(?s:.*)fallback: on_demand"):
        follow(plan(spot={"retries": 0, "fallback": "none"}))
    assert not kubernetes.jobs()


def test_losses_are_counted_on_by_a_step_that_is_tried_again(kubernetes, cluster, follow, plan, clock):
    """The one that is killed has counted one loss; the next must not count it again, and counts its own."""
    play = kubernetes.trainer

    class Killed(BaseException):
        pass

    def killed():
        kubernetes.killed = True

    kubernetes.story = [play.start, lambda: play.take(0), killed]
    told = []

    def tell(line):
        told.append(line)
        if "time 1" in line:
            raise Killed

    with pytest.raises(Killed):
        Followed(cluster, plan(spot={"retries": 1}), every=1.0, clock=clock, tell=tell).run()
    kubernetes.story = [lambda: play.take(1), play.start, play.finish]
    told = follow(plan(spot={"retries": 1}))

    assert [line for line in told if "time" in line] == [
        "TrainJob flights-0a1b2c3d4e-0 has lost 1 of its pods to the cluster, time 2"
    ]
    assert len(created(kubernetes)) == 2


def test_a_step_killed_between_two_jobs_goes_on_with_the_next(kubernetes, cluster, follow, plan):
    play = kubernetes.trainer
    play.lingers = True
    cluster.create(body(plan(spot=True), 2, 3, spot=True))
    kubernetes.remove("/apis/trainer.kubeflow.org/v1alpha1/namespaces/team/trainjobs", "flights-0a1b2c3d4e-2")
    play.lingers = False
    kubernetes.story = [play.start, play.finish]
    told = follow(plan(spot=True))

    assert told[0] == "TrainJob flights-0a1b2c3d4e-3: 2 nodes, on spot nodes"


def test_a_job_that_somebody_deletes_is_an_error(kubernetes, follow, plan):
    kubernetes.story = [kubernetes.trainer.start, lambda: kubernetes.trainer.gone("flights-0a1b2c3d4e-0")]

    with pytest.raises(ClusterError, match="deleted while it trained"):
        follow(plan())


def test_the_api_may_be_away_for_a_while(kubernetes, follow, plan):
    play = kubernetes.trainer

    def away():
        for fault in ("unavailable", "too_many", "dropped"):
            kubernetes.fail(fault, times=2)

    kubernetes.story = [play.start, away, play.finish]
    follow(plan())

    assert not kubernetes.jobs()


def test_but_not_for_ever(kubernetes, follow, plan):
    kubernetes.story = [lambda: kubernetes.fail("unavailable", times=1000)]

    with pytest.raises(Outage, match=r"out of order for 60 s(?s:.*)finds its TrainJob"):
        follow(plan())
    assert list(kubernetes.jobs()) == ["flights-0a1b2c3d4e-0"]


@pytest.mark.parametrize("fault", ["watch_gone", "watch_dropped"])
def test_a_watch_that_breaks_off_loses_nothing(kubernetes, follow, plan, fault):
    play = kubernetes.trainer
    kubernetes.fail(fault, times=3)
    kubernetes.story = [play.start, lambda: None, lambda: None, lambda: None, play.finish]
    follow(plan())

    assert not kubernetes.jobs()


def test_an_answer_that_is_lost_does_not_make_two_jobs(kubernetes, follow, plan):
    kubernetes.fail("answer_lost")
    kubernetes.story = [kubernetes.trainer.start, kubernetes.trainer.finish]
    told = follow(plan())

    assert len(created(kubernetes)) == 2
    assert told[-1] == "TrainJob flights-0a1b2c3d4e-0 is complete"


def test_a_service_account_that_may_not_is_told_which_rights_it_needs(kubernetes, follow, plan):
    kubernetes.fail("forbidden create")

    with pytest.raises(ClusterError, match=r"cannot create trainjobs(?s:.*)its Role needs create"):
        follow(plan())


def test_a_cluster_without_trainer_is_called_that(kubernetes, follow, plan):
    kubernetes.plays("way to lose a kind")
    from tests.stand_ins.kubernetes import server

    known, server.KNOWN = server.KNOWN, server.KNOWN - {server.JOBS}
    try:
        with pytest.raises(ClusterError, match=r"install Kubeflow Trainer 2\.2 or newer"):
            follow(plan())
    finally:
        server.KNOWN = known


def test_a_runtime_that_is_not_there_is_refused_in_trainers_words(kubernetes, follow, plan):
    kubernetes.plays("webhooks of Trainer")
    with pytest.raises(ClusterError, match=r'"torch-distribute" not found(?s:.*)mend train.resources'):
        follow(plan(runtime="torch-distribute"))


def test_a_trainer_that_does_not_know_what_it_is_asked_is_too_old(kubernetes, cluster, plan):
    kubernetes.plays("strict validation before Kubernetes 1.25")
    job = body(plan(), 0, 0, spot=False)
    job["spec"]["podTemplateOverrides"] = []

    with pytest.raises(ClusterError, match=r"too old: 2\.2 or newer"):
        cluster.create(job)


def test_stopping_deletes_all_of_it(kubernetes, cluster, plan):
    for attempt in range(2):
        cluster.create(body(plan(), attempt, 0, spot=False))
    Followed(cluster, plan()).stop()

    assert not kubernetes.jobs()
