"""Fingerprints of code: each run sees what has changed since the last, and nothing is followed anew that has not."""

import os

import pytest

from flywheel.runner.code import Code


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a package, a module and a mere folder of the user."""
    monkeypatch.chdir(tmp_path)
    files = {
        "shop/__init__.py": "",
        "shop/train.py": "import numpy\nimport shop_tools",
        "shop/data/prices.csv": "1",
        "shop_tools.py": "A = 1",
        "shop_parts/carrier.py": "A = 1",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


SOURCE = "def step():\n    from shop.train import train\n    from shop_parts import carrier"


def test_versions_of_packages_and_digests_of_the_users_files_are_in_it(here):
    found = Code().fingerprint(SOURCE)

    assert set(found) == {
        "numpy", "shop/", "shop/__init__.py", "shop/train.py", "shop_parts/carrier.py", "shop_tools.py",
    }  # fmt: skip


@pytest.mark.parametrize("file", ["shop/train.py", "shop/data/prices.csv", "shop_tools.py", "shop_parts/carrier.py"])
def test_the_next_run_sees_a_change_and_the_removal_of_a_file(here, file):
    before = Code().fingerprint(SOURCE)

    (here / file).write_text("A = 22")
    changed = Code().fingerprint(SOURCE)
    (here / file).unlink()
    removed = Code().fingerprint(SOURCE)

    assert before != changed
    assert removed not in (before, changed)


@pytest.mark.parametrize("text", ["#" * 2**20, ""])
def test_the_next_run_sees_a_change_of_a_large_module_and_of_one_behind_a_link(here, text):
    (here / "elsewhere").mkdir()
    (here / "shop/linked").symlink_to(here / "elsewhere")
    file = here / ("shop/large.py" if text else "elsewhere/deep.py")
    file.write_text(f"A = 1{text}")
    source = "import shop.large, shop.linked.deep"
    before = Code().fingerprint(source)

    file.write_text(f"A = 22{text}")

    assert Code().fingerprint(source) != before


@pytest.mark.parametrize("file", ["shop/new.py", "shop/deep/new.py"])
def test_the_next_run_sees_a_file_that_a_package_gets(here, file):
    before = Code().fingerprint(SOURCE)

    (here / file).parent.mkdir(exist_ok=True)
    (here / file).write_text("A = 1")

    assert Code().fingerprint(SOURCE) != before


@pytest.mark.parametrize("file", ["numpy.py", "shop_parts/__init__.py"])
def test_the_next_run_sees_a_module_that_comes_before_another(here, file):
    before = Code().fingerprint(SOURCE)

    (here / file).write_text("A = 1")
    os.utime(here / file)

    assert Code().fingerprint(SOURCE) != before


def test_what_has_not_changed_is_not_followed_again(here):
    source = "import shop.train"

    assert Code().fingerprint(source) is Code().fingerprint(source)
