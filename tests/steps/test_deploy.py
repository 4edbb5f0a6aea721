import errno
import multiprocessing
import os
import resource

import pytest

from flywheel.artifacts import Model
from flywheel.config import KServe
from flywheel.errors import ArtifactError, LedgerError, ServingError
from flywheel.ledger import Champion, Ledger
from flywheel.ledger.registry import move_champion, register, rolled_back
from flywheel.serving.folder import ServingFolder, path_of
from flywheel.steps import by_hand
from flywheel.steps.deploy import TakenBack, deploy
from flywheel.steps.promote import promote
from tests.mortal import killed_before_write
from tests.stand_ins.kubernetes import StandIn
from tests.stores import ledger_in, model_in

forked = multiprocessing.get_context("fork")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(ledger_in(tmp_path))


@pytest.fixture
def serving(tmp_path):
    return tmp_path / "serving"


@pytest.fixture
def promoted(ledger, tmp_path):
    """Give a function that promotes a model for a span and returns (version, run)."""

    def make(span, content=""):
        run = ledger.open("flights", span, span)
        return promote(model_in(tmp_path / f"model-{span}", content or span), "flights", span, ledger, run).version, run

    return make


def versions_in(serving):
    return sorted(path.name for path in (serving / "flights").iterdir() if path.name.isdigit())


def left_over(serving):
    return [path.name for path in (serving / "flights").iterdir() if path.name.startswith((".partial", ".next"))]


def test_a_version_is_put_in_service_whole_and_the_endpoint_recorded(ledger, promoted, serving):
    version, run = promoted("2013-06-01")

    endpoint = deploy("flights", version, str(serving), ledger, run)

    assert endpoint == str(serving / "flights")
    assert os.readlink(serving / "flights" / "current") == "1"
    deployment, model = ServingFolder(serving / "flights").model()
    assert (deployment.name, deployment.version, deployment.span) == ("flights", "1", "2013-06-01")
    assert (model.path / "data" / "weights").read_text() == "2013-06-01"
    assert ledger.row(run).endpoint == endpoint


def test_the_target_may_be_a_uri(ledger, promoted, tmp_path):
    target = tmp_path / "with space #"

    version, run = promoted("2013-06-01")
    deploy("flights", version, target.as_uri(), ledger, run)

    assert (target / "flights" / "current" / "MLmodel").is_file()


def test_a_target_of_another_kind_is_refused(ledger, promoted):
    version, run = promoted("2013-06-01")

    with pytest.raises(ServingError, match="give a folder, as "):
        deploy("flights", version, "s3://bucket/models", ledger, run)


def test_deploying_twice_changes_nothing(ledger, promoted, serving):
    version, run = promoted("2013-06-01")
    deploy("flights", version, str(serving), ledger, run)
    folder = serving / "flights"
    before = {path: path.lstat().st_mtime_ns for path in [folder / "1", folder / "1" / "MLmodel", folder / "current"]}

    deploy("flights", version, str(serving), ledger, run)

    assert {path: path.lstat().st_mtime_ns for path in before} == before


def test_the_version_before_stays_and_older_ones_go(ledger, promoted, serving):
    for span in ("2013-06-01", "2013-06-08", "2013-06-15"):
        version, run = promoted(span)
        deploy("flights", version, str(serving), ledger, run)

    assert versions_in(serving) == ["2", "3"]
    assert os.readlink(serving / "flights" / "current") == "3"


def test_only_the_champion_is_put_in_service(ledger, promoted, serving):
    first, second = promoted("2013-06-01"), promoted("2013-06-08")
    deploy("flights", second[0], str(serving), ledger, second[1])

    with pytest.raises(ServingError, match="the champion is version 2 of '2013-06-08' by now"):
        deploy("flights", first[0], str(serving), ledger, first[1])
    assert os.readlink(serving / "flights" / "current") == "2"
    assert ledger.row(first[1]).endpoint is None


def test_a_champion_that_moved_while_it_was_copied_is_not_put_in_service(ledger, promoted, serving):
    version, run = promoted("2013-06-01")
    deploy("flights", version, str(serving), ledger, run)
    late, late_run = promoted("2013-06-08")
    copied = ledger.client.download

    class Slow(type(ledger.client)):
        def download(self, uri, into=None):
            promoted("2013-06-15")
            return copied(uri, into)

    with pytest.raises(ServingError, match="version 3 of '2013-06-15' by now"):
        deploy("flights", late, str(serving), Ledger(ledger.tracking_uri, connect=Slow), late_run)
    assert os.readlink(serving / "flights" / "current") == "1"


def test_a_version_that_is_not_there_is_an_error(ledger, promoted, serving):
    _, run = promoted("2013-06-01")

    with pytest.raises(LedgerError, match="has no version"):
        deploy("flights", "7", str(serving), ledger, run)


def test_what_a_killed_deployment_left_is_cleared_away(ledger, promoted, serving):
    version, run = promoted("2013-06-01")
    (serving / "flights" / ".partial-1" / "data").mkdir(parents=True)
    (serving / "flights" / ".next").symlink_to("0")

    deploy("flights", version, str(serving), ledger, run)

    assert left_over(serving) == []
    assert os.readlink(serving / "flights" / "current") == "1"


def test_a_version_that_was_damaged_on_disk_is_copied_anew(ledger, promoted, serving):
    version, run = promoted("2013-06-01")
    deploy("flights", version, str(serving), ledger, run)
    (serving / "flights" / "1" / "data" / "weights").write_text("damaged")

    deploy("flights", version, str(serving), ledger, run)

    assert Model.open(serving / "flights" / "current")


def test_artifacts_that_were_changed_in_the_registry_are_not_served(ledger, promoted, serving, tmp_path):
    version, run = promoted("2013-06-01")
    weights = next((tmp_path / ".flywheel" / "mlartifacts").rglob("weights"))
    weights.write_text("somebody else's")

    with pytest.raises(ArtifactError, match="is damaged"):
        deploy("flights", version, str(serving), ledger, run)
    assert versions_in(serving) == []
    assert left_over(serving) == []


def test_a_full_disk_is_a_clear_error_and_leaves_the_former_version_in_service(ledger, promoted, serving):
    small = promoted("2013-06-01")
    deploy("flights", small[0], str(serving), ledger, small[1])
    large = promoted("2013-06-08", "x" * 10**7)
    answer = forked.Queue()

    def work():
        source = Ledger(ledger.tracking_uri)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 * 10**6, resource.RLIM_INFINITY))
        try:
            deploy("flights", large[0], str(serving), source, large[1])
        except ServingError as error:
            answer.put(str(error))

    child = forked.Process(target=work)
    child.start()
    said = answer.get(timeout=60)
    child.join()

    assert "is full" in said
    assert "free some space and run again" in said
    assert versions_in(serving) == ["1"]
    assert left_over(serving) == []
    assert os.readlink(serving / "flights" / "current") == "1"
    assert ledger.row(large[1]).endpoint is None


def test_a_disk_without_space_is_told_apart_from_one_that_may_not_be_written(tmp_path):
    champion = Champion("flights", "1", "2013-06-01", "run", "sha256:0")

    def no_space(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def no_right(_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with pytest.raises(ServingError, match="free some space"):
        ServingFolder(tmp_path / "flights").deploy(champion, no_space, lambda: champion)
    with pytest.raises(ServingError, match="that you may write to"):
        ServingFolder(tmp_path / "flights").deploy(champion, no_right, lambda: champion)


def test_deployments_at_once_take_turns_and_the_champion_stays(ledger, promoted, serving):
    given = [promoted(span) for span in ("2013-06-01", "2013-06-08", "2013-06-15")]

    def work(version, run):
        try:
            deploy("flights", version, str(serving), ledger, run)
        except ServingError as error:
            if "by now" not in str(error):
                raise

    children = [forked.Process(target=work, args=one) for one in given]
    for child in children:
        child.start()
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0] * 3
    assert os.readlink(serving / "flights" / "current") == "3"
    assert left_over(serving) == []


def test_nothing_deployed_yet_says_how_to_come_by_a_model(tmp_path):
    with pytest.raises(ServingError, match="run `flywheel run`"):
        ServingFolder(tmp_path / "flights").model()


def test_a_relative_path_counts_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert path_of(".flywheel/serving") == tmp_path / ".flywheel" / "serving"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with StandIn() as here:
        kubeconfig = here.kubeconfig(tmp_path / "kubeconfig")
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        monkeypatch.setattr("flywheel.serving.targets.kserve.POLL", 0.01)
        yield here.kserve


@pytest.fixture
def in_a_bucket(ledger):
    """Give a function that makes a champion whose model is where a cluster can read it."""

    def make(span):
        run = ledger.open("flights", span, span)
        uri = f"gs://models/{span}"
        version = register(ledger.client, "flights", uri, run, {"span": span, "digest": f"sha256:{span}"})
        move_champion(ledger.client, "flights", version)
        return version, run

    return make


def test_a_target_is_told_in_one_string_what_flywheel_yaml_says(ledger, in_a_bucket, cluster, tmp_path):
    version, run = in_a_bucket("2013-06-01")
    report = tmp_path / "report" / "deployment.html"

    endpoint = deploy("flights", version, KServe(target="kserve").text(), ledger, run, report)

    assert endpoint == "http://flights.default.example.com" == ledger.row(run).endpoint
    assert cluster.get("flights")["spec"]["predictor"]["model"]["storageUri"] == "gs://models/2013-06-01"
    assert "Served at http://flights.default.example.com" in report.read_text()


def test_what_a_target_takes_back_is_an_error_with_its_report_in_the_ledger(ledger, in_a_bucket, cluster):
    version, run = in_a_bucket("2013-06-01")
    cluster.controller.unloadable.add("gs://models/2013-06-01")

    with pytest.raises(ServingError, match=r"taken back: the model does not load[\s\S]*no former version"):
        deploy("flights", version, KServe(target="kserve").text(), ledger, run)

    row = ledger.row(run)
    assert row.endpoint is None
    assert "No module named" in row.decisions["deploy"].why
    kept = ledger.client.download(f"{ledger.client.get_run(run).info.artifact_uri}/deployment.html")
    assert "No module named &#39;flywheel&#39;" in kept.read_text()
    assert cluster.get("flights") is None


def test_what_is_taken_back_is_champion_no_more_and_never_promoted_again_by_its_run(ledger, in_a_bucket, cluster):
    first, run = in_a_bucket("2013-06-01")
    deploy("flights", first, KServe(target="kserve").text(), ledger, run)
    second, run = in_a_bucket("2013-06-08")
    ledger.settle(run, "promoted", f"version {second} is champion", version=second)
    cluster.controller.unloadable.add("gs://models/2013-06-08")

    for _ in range(2):  # the second time as a run that was killed after it, and is taken up again
        with pytest.raises(TakenBack, match=rf"version {second} was taken back by its deployment: the model does not"):
            deploy("flights", second, KServe(target="kserve").text(), ledger, run)

        assert ledger.champion("flights").version == first
        row = ledger.row(run)
        assert (row.outcome, row.version) == ("kept-champion", second)
        assert row.why.endswith(f"version {first} is champion")
    assert cluster.get("flights")["spec"]["predictor"]["canaryTrafficPercent"] == 0


def test_killed_while_a_version_is_taken_back_and_run_again_it_ends_the_same(ledger, in_a_bucket, cluster):
    target = KServe(target="kserve").text()
    first, run = in_a_bucket("2013-06-01")
    deploy("flights", first, target, ledger, run)
    ends = []
    while not ends or ends[-1]:
        day = f"2013-07-{len(ends) + 1:02d}"
        version, run = in_a_bucket(day)
        ledger.settle(run, "promoted", f"version {version} is champion", version=version)
        cluster.controller.unloadable.add(f"gs://models/{day}")

        def act(book, version=version, run=run):
            with pytest.raises(TakenBack):
                deploy("flights", version, target, book, run)

        ends.append(killed_before_write(len(ends), ledger.tracking_uri, act))
        act(ledger)

        assert ledger.champion("flights").version == first
        assert ledger.row(run).outcome == "kept-champion"
        assert rolled_back(ledger.client, "flights", version)
    assert len(ends) > 5


def test_a_person_may_try_a_version_again_that_was_taken_back(ledger, in_a_bucket, cluster):
    target = KServe(target="kserve").text()
    first, run = in_a_bucket("2013-06-01")
    deploy("flights", first, target, ledger, run)
    second, run = in_a_bucket("2013-06-08")
    cluster.controller.unloadable.add("gs://models/2013-06-08")
    with pytest.raises(TakenBack):
        deploy("flights", second, target, ledger, run)
    cluster.controller.unloadable.clear()

    by_hand.promote(ledger, "flights", second, "mended", "ann", by_hand.deployer("flights", target, ledger))

    assert ledger.champion("flights").version == second
    assert cluster.get("flights")["spec"]["predictor"]["model"]["storageUri"] == "gs://models/2013-06-08"


def test_a_target_that_is_none_names_what_is_wrong_with_it(ledger, promoted):
    version, run = promoted("2013-06-01")

    with pytest.raises(ServingError, match=r"give a folder, or `deploy` of flywheel\.yaml"):
        deploy("flights", version, '{"target": "heroku"}', ledger, run)
