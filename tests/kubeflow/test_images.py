"""Images: what a Dockerfile may not do, a team's own on top, and a component in its container."""

import os
import re
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from flywheel import images
from flywheel.errors import ConfigError, FlywheelError, MissingExtra
from flywheel.kubeflow import image

ROOT = Path(__file__).parents[2]
IMAGE = os.environ.get("FLYWHEEL_TEST_IMAGE", "")


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A `docker` that writes down how it is called, with the build's folder; give what it wrote, by name."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nfor last; do :; done\n'
        f'[ "$1" != build ] || cp "$last"/* {tmp_path}/\nexit ${{DOCKER_FAILS:-0}}\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


def test_an_image_has_the_requirements_and_is_called_by_them(docker, tmp_path):
    file = tmp_path / "requirements.in"
    file.write_text("xgboost==3.0.2\n")
    tag = image.build("flights", file, images.CPU, ["--network=host"])

    assert re.fullmatch(rf"{images.REPOSITORY}/flights:[0-9a-f]{{16}}", tag)
    assert (docker / "requirements.txt").read_text() == "xgboost==3.0.2\n"
    assert (docker / "Dockerfile").read_text().rstrip().endswith("USER 10001")
    (call,) = (docker / "calls").read_text().splitlines()
    assert call.startswith(f"build --build-arg BASE={images.CPU} --tag {tag} --network=host /")
    assert image.build("flights", file, images.CPU) == tag
    assert image.build("flights", file, images.GPU) != tag


def test_a_build_that_fails_says_so(docker, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_FAILS", "1")
    file = tmp_path / "requirements.in"
    file.write_text("xgboost\n")
    with pytest.raises(FlywheelError) as caught:
        image.build("flights", file, images.CPU)

    assert str(caught.value) == (
        "`docker build` failed with exit code 1\n  mend what it says above, then run the same command again."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file '{file}'\n  write one library a line there, as for `pip install -r`."),
        ("# none\n\n", "{file} asks for nothing\n  name a library, or use flywheel/cpu:latest as it is."),
    ],
)
def test_requirements_that_ask_for_nothing_are_refused(docker, tmp_path, text, message):
    file = tmp_path / "requirements.in"
    if text is not None:
        file.write_text(text)
    shown = str(file)
    with pytest.raises(ConfigError) as caught:
        image.build("flights", file, images.CPU)

    assert str(caught.value) == message.format(file=shown)


def test_without_an_engine_it_is_said_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "requirements.in").write_text("xgboost\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match="this needs Docker or Podman, and neither is installed"):
        image.build("flights", tmp_path / "requirements.in", images.CPU)


def test_every_library_of_the_images_is_locked_with_hashes():
    for lock in (ROOT / "locks").glob("image-*.txt"):
        blocks = re.split(r"\n(?=[a-z])", lock.read_text().strip())
        assert len(blocks) > 20
        assert all(re.match(r"[a-z0-9._\[\]-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", block) for block in blocks)


def test_the_gpu_image_changes_no_version_of_the_cpu_image():
    def names(lock):
        return set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "locks" / lock).read_text(), re.MULTILINE))

    platform = "linux-x86_64-glibc2.28-py3.11.txt"
    assert "torch" in names(f"image-gpu-{platform}")
    assert not names(f"image-gpu-{platform}") & names(f"image-{platform}")


docker_engine = pytest.mark.skipif(not IMAGE, reason="FLYWHEEL_TEST_IMAGE names no image")


def in_container(*words, options=()):
    done = subprocess.run(
        ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network=none", *options, IMAGE, *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.docker
@docker_engine
def test_the_image_runs_without_root_on_a_read_only_file_system():
    assert in_container("id", "-u") == (0, "10001\n")
    code, said = in_container("flywheel", "--version")
    assert (code, said.split()[0]) == (0, "flywheel"), said
    code, said = in_container("python", "-c", "open('/opt/flywheel/x', 'w')")
    assert code == 1
    assert "Read-only file system" in said or "Permission denied" in said


@pytest.mark.docker
@docker_engine
def test_no_compiler_is_left_in_the_image():
    for name in ("gcc", "g++", "cc", "ld", "make"):
        code, said = in_container("sh", "-c", f"command -v {name}")
        assert code != 0, said


@pytest.mark.docker
@docker_engine
def test_a_component_runs_in_its_container_under_kfps_own_runner(monkeypatch):
    from kfp import dsl, local

    folder = tempfile.mkdtemp(prefix="flywheel-docker-")
    os.chmod(folder, 0o777)  # kfp mounts it as it is, and the image's user is not ours

    @dsl.component(base_image=IMAGE, install_kfp_package=False)
    def spans(last: str, back: int) -> list:
        from flywheel.spans import Span

        return [span.name for span in Span.parse(last).back(back)]

    monkeypatch.chdir(folder)
    local.init(runner=local.DockerRunner(), pipeline_root=folder)

    assert spans(last="2024-03-03", back=3).output == ["2024-03-01", "2024-03-02", "2024-03-03"]
