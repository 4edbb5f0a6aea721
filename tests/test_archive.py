import importlib
import os
import sys

import pytest

from flywheel import archive
from flywheel.errors import ConfigError


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "a project"
    (folder / ".flywheel").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "trainer.pyc").write_text("cache")
    (folder / ".flywheel" / "warehouse.duckdb").write_text("state")
    (folder / "my_trainer.py").write_text("ANSWER = 42")
    return folder


def test_equal_files_give_the_same_archive_whatever_their_times(project, tmp_path):
    first = archive.pack(project, tmp_path / "code")
    content = first.read_bytes()
    first.unlink()
    os.utime(project / "my_trainer.py", (1, 1))

    assert archive.pack(project, tmp_path / "code") == first
    assert first.read_bytes() == content


def test_a_changed_file_gives_another(project, tmp_path):
    first = archive.pack(project, tmp_path / "code")
    (project / "my_trainer.py").write_text("ANSWER = 43")

    assert archive.pack(project, tmp_path / "code") != first


def test_code_is_importable_while_unpacked_and_state_stays_out(project, tmp_path):
    with archive.unpacked(archive.pack(project, tmp_path / "code")) as folder:
        assert importlib.import_module("my_trainer").ANSWER == 42
        assert [path.name for path in folder.rglob("*.py")] == ["my_trainer.py"]
        assert not (folder / ".flywheel").exists()

    assert str(folder) not in sys.path
    assert not folder.exists()
    del sys.modules["my_trainer"]


def test_data_beside_the_code_is_refused(project, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAXIMUM_BYTES", 100)
    (project / "rows.csv").write_text("x" * 101)

    with pytest.raises(ConfigError, match=r"move data such as rows\.csv elsewhere"):
        archive.pack(project, tmp_path / "code")
