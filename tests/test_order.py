import subprocess
import sys


def test_triton_is_imported_before_tensorflow_and_only_with_it(tmp_path):
    for name in ("triton", "tensorflow"):
        (tmp_path / f"{name}.py").write_text(f"print({name!r})")
    program = "import sys; sys.path.insert(0, sys.argv[1]); import flywheel; print('flywheel'); import tensorflow"

    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["flywheel", "triton", "tensorflow"]


def test_tensorflow_is_imported_where_there_is_no_triton(tmp_path):
    (tmp_path / "tensorflow.py").write_text("print('tensorflow')")
    program = "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['triton'] = None; import flywheel, tensorflow"

    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)

    assert done.stdout == "tensorflow\n"
