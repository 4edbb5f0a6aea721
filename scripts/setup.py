"""Make `.venv`: the locked dependencies of this platform, then the project itself, editable.

Runs on any Python 3 with nothing but its standard library, and looks for the one that the environment is made with.
Everything that can be missing is looked for before anything is installed. Quick when nothing has changed; an
interrupted set-up is thrown away by the next. `setup.py torch` adds PyTorch: its CPU build where pip knows of one, else
the index's own build with the CUDA libraries that it needs.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import platform
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "locks"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "uv" / "bin" / "uv"
STATE = VENV / "flywheel-setup.json"
GIGABYTE = 10**9
SPACE = 4.5 * GIGABYTE
# What uv is told for each setting of pip, so that both look at the same index in the same way.
UV_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}


class SetupError(Exception):
    """Something on this machine is missing; the message says what, and what to do."""


class Interpreter:
    """A Python on this machine, and what it says of itself."""

    PROBE = (
        "import importlib.util as u, json, sys, sysconfig; print(json.dumps([list(sys.version_info[:2]), "
        "all(map(u.find_spec, ('venv', 'ensurepip'))), sysconfig.get_path('include'), "
        "sysconfig.get_config_var('CC') or 'cc']))"
    )

    def __init__(self, path: str, facts: list) -> None:
        self.path = path
        (self.major, self.minor), self.has_venv, self.include, self.compiler = facts

    @property
    def version(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def probe(cls, path: str) -> Interpreter | None:
        done = subprocess.run([path, "-c", cls.PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return cls(path, json.loads(done.stdout)) if done.returncode == 0 else None


def main() -> int:
    """Set up, or say in one line why not."""
    with open(__file__) as own:
        fcntl.flock(own, fcntl.LOCK_EX)  # two `make` at once take turns
        try:
            if not up_to_date():
                set_up()
            if "torch" in sys.argv[1:]:
                set_up_torch()
        except SetupError as error:
            print(f"setup: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("setup: interrupted; `make setup` starts over", file=sys.stderr)
            return 130
        except subprocess.CalledProcessError as error:
            command = " ".join(map(str, error.cmd[:4]))
            print(f"setup: `{command} …` failed; its output is above. `make setup` starts over.", file=sys.stderr)
            return 1
    return 0


def up_to_date() -> bool:
    state = read_state()
    if not state.get("lock") or state.get("digest") != digest(state["lock"]):
        return False
    return subprocess.run([PYTHON, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0


def set_up() -> None:
    start = time.monotonic()
    if VENV.exists() and not STATE.exists():
        raise SetupError(f"{str(VENV)!r} was not made by `make setup`: move it away, then run it again")
    family = locks_of_this_platform()
    python = find_python(family)
    lock = family[python.version]
    check_compiler(python)
    state = read_state()
    fresh = state.get("digest") is None or state.get("root") != str(ROOT) or state.get("lock") != lock
    check_space(SPACE if fresh else SPACE / 7)
    if fresh:
        say(f"making .venv with Python {python.version} ({python.path}) from locks/{lock}: 4 GB, one to three minutes")
        shutil.rmtree(VENV, ignore_errors=True)
        VENV.mkdir()
        write_state({"root": str(ROOT)})
        run([python.path, "-m", "venv", str(VENV)])
    else:
        say(f"bringing .venv in line with locks/{lock}")
        write_state({"root": str(ROOT)})
    install(lock)
    write_state({"root": str(ROOT), "lock": lock, "digest": digest(lock)})
    say(f"ready after {time.monotonic() - start:.0f} s")


def set_up_torch() -> None:
    """Install PyTorch beside the locked set, once."""
    start, lock = time.monotonic(), read_state()["lock"]
    if read_state().get("torch") == digest(f"torch-{lock}") and has_torch():
        return
    say(f"adding PyTorch from locks/torch-{lock}")
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r"]
    run([*pip, LOCKS / "torch-cpu.txt"], check=False, stderr=subprocess.DEVNULL)
    if not has_torch():
        say("pip knows of no CPU build: taking the index's own, on Linux with gigabytes of CUDA")
        run([*pip, LOCKS / f"torch-{lock}"])
    write_state({**read_state(), "torch": digest(f"torch-{lock}")})
    say(f"PyTorch is there after {time.monotonic() - start:.0f} s")


def has_torch() -> bool:
    """Return whether PyTorch is there; bringing the rest in line with its lock takes it away."""
    there = [PYTHON, "-c", "import importlib.metadata as m; m.version('torch')"]
    return subprocess.run(there, stderr=subprocess.DEVNULL, check=False).returncode == 0


def locks_of_this_platform() -> dict[str, str]:
    """Return the lock for each Python version that this platform has a lock for.

    A lock is named `<system>-<machine>[-glibc<oldest>]-py<version>.txt`. For each version the newest glibc counts that
    this machine can run.
    """
    system, machine = platform.system().lower(), platform.machine().lower()
    glibc = glibc_version()
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for path in LOCKS.glob(f"{system}-{machine}-*.txt"):
        *needs, version = path.stem[len(f"{system}-{machine}-") :].split("-")
        oldest = numbers(needs[0][len("glibc") :]) if needs else ()
        version = version[len("py") :]
        if oldest <= glibc and (version not in found or found[version][0] < oldest):
            found[version] = (oldest, path.name)
    if not found:
        libc = f" with glibc {'.'.join(map(str, glibc))}" if glibc else ""
        raise SetupError(
            f"there is no locked set for {system} {machine}{libc} in locks/: use Linux on x86_64 with glibc 2.28 or "
            "newer, or a Mac with an M processor"
        )
    return {version: name for version, (_, name) in sorted(found.items(), key=lambda item: numbers(item[0]))}


def find_python(family: dict[str, str]) -> Interpreter:
    """Return the first Python on PATH that has a lock, or the one that the variable PYTHON names."""
    named = os.environ.get("PYTHON")
    seen: dict[str, str] = {}
    usable: dict[str, Interpreter] = {}
    for path in [named] if named else candidates(family):
        found = Interpreter.probe(path) if shutil.which(path) else None
        if found is None:
            continue
        seen.setdefault(found.version, path)
        if found.version in family and (found.version not in usable or not usable[found.version].has_venv):
            usable[found.version] = found
    for version in family:
        if version in usable and usable[version].has_venv:
            return usable[version]
    if usable:
        version = next(iter(usable))
        cure = package_cure(f"python{version}-venv", "python3-pip")
        raise SetupError(f"{usable[version].path!r} has no venv module: {cure}")
    wanted = " or ".join(family)
    there = ", ".join(f"{version} at {path!r}" for version, path in seen.items()) or repr(named or "none")
    newest = next(reversed(family))
    cure = package_cure(f"python{newest} python{newest}-venv python{newest}-dev", f"python{newest}-devel")
    raise SetupError(
        f"this platform needs Python {wanted}, found {there}: {cure}, or name one: make setup PYTHON=/path/to/python"
    )


def candidates(family: dict[str, str]) -> list[str]:
    """Return every Python on PATH; a version manager's shim may stand before one that works."""
    names = [*(f"python{version}" for version in family), "python3", "python"]
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return [path for name in names for folder in folders if (path := shutil.which(name, path=folder or "."))]


def check_compiler(python: Interpreter) -> None:
    """Compile what pyfarmhash, which TFDV needs and which has no wheel, is going to compile."""
    compiler = shlex.split(os.environ.get("CC") or python.compiler)
    if not compiles(compiler, python, "string"):
        cure = package_cure("g++", "gcc-c++")
        raise SetupError(f"no C++ compiler ({compiler[0]!r} does not compile C++), and pyfarmhash wants one: {cure}")
    if not compiles(compiler, python, "Python.h"):
        cure = package_cure(f"python{python.version}-dev", f"python{python.version}-devel")
        raise SetupError(f"no Python.h in {python.include!r}, and pyfarmhash wants it: {cure}")


def compiles(compiler: list[str], python: Interpreter, header: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cc")
        source.write_text(f"#include <{header}>\n")
        command = [*compiler, "-fPIC", f"-I{python.include}", "-c", str(source), "-o", str(Path(folder, "probe.o"))]
        try:
            return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
        except FileNotFoundError:
            return False


def check_space(needed: float) -> None:
    free = shutil.disk_usage(ROOT).free
    if free < needed:
        raise SetupError(
            f"{free / GIGABYTE:.1f} GB free on the disk of {str(ROOT)!r}, and {needed / GIGABYTE:.1f} GB are needed: "
            "free some, or move the folder to a larger disk"
        )


def install(lock: str) -> None:
    """Install the locked set and the project by uv, or by pip where uv has no wheel or does not get through."""
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--require-hashes", "--no-deps"]
    if has_uv(pip):
        environment = {**os.environ, **uv_environment(), "VIRTUAL_ENV": str(VENV)}
        quiet = [] if sys.stderr.isatty() else ["--quiet"]  # a bar for a person, not 300 names for a log
        sync = [
            "sync",
            *quiet,
            "--compile-bytecode",
            "--require-hashes",
            "--build-constraints",
            LOCKS / "build.txt",
            LOCKS / lock,
        ]
        if run([UV, "pip", *sync, LOCKS / lock], env=environment, check=False) == 0:
            run([UV, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", "."], env=environment)
            return
        say("uv did not get through: trying pip, which takes several minutes")
    run([PYTHON, "-m", "ensurepip"], check=False, stdout=subprocess.DEVNULL)
    run([*pip, "-r", LOCKS / "build.txt"])
    run([*pip, "--no-build-isolation", "--ignore-requires-python", "-r", LOCKS / lock])
    run([*pip[:-2], "--no-deps", "--no-build-isolation", "-e", "."])


def has_uv(pip: list) -> bool:
    """Return whether the pinned uv is there, after fetching it when it is not."""
    if not UV.exists():
        run([PYTHON, "-m", "ensurepip"], check=False, stdout=subprocess.DEVNULL)
        run([*pip, "--only-binary", ":all:", "--target", UV.parent.parent, "-r", LOCKS / "uv.txt"], check=False)
    return UV.exists() and run([UV, "--version"], check=False, stdout=subprocess.DEVNULL) == 0


def uv_environment() -> dict[str, str]:
    """Return the variables by which uv uses the index, certificates and proxy that pip is configured for."""
    environment = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_PYTHON_DOWNLOADS": "never"}  # hashes bind the files
    for key, value in pip_settings().items():
        variable = UV_SETTINGS.get(key)
        words = [word for word in value.split() if not missing_folder(word)]
        if variable and words and variable not in os.environ:
            environment[variable] = ("," if variable == "UV_FIND_LINKS" else " ").join(words)
    if "SSL_CERT_FILE" not in {*environment, *os.environ} and ssl.get_default_verify_paths().cafile:
        environment["UV_SYSTEM_CERTS"] = "true"
    if not writable(uv_cache()):
        environment["UV_CACHE_DIR"] = str(VENV / "uv" / "cache")
    return environment


def pip_settings() -> dict[str, str]:
    """Return what pip is told by its files and its variables, the nearest last."""
    listed = subprocess.run([PYTHON, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, check=False)
    lines = [line.partition("=") for line in listed.stdout.decode().splitlines()]
    settings: dict[str, str] = {}
    for section in ("global.", "install.", ":env:."):
        for name, _, value in lines:
            if name.startswith(section):
                settings[name[len(section) :]] = ast.literal_eval(value)
    return settings


def missing_folder(link: str) -> bool:
    path = link[len("file://") :] if link.startswith("file://") else link
    return path.startswith("/") and not Path(path).exists()


def uv_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("UV_CACHE_DIR") or Path(home, "uv"))


def writable(folder: Path) -> bool:
    """Return whether the folder can be made and used, and its disk holds what is unpacked there."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return os.access(there, os.W_OK | os.X_OK) and shutil.disk_usage(there).free >= SPACE


def package_cure(debian: str, fedora: str) -> str:
    if shutil.which("apt-get"):
        return f"apt-get install {debian}"
    if shutil.which("dnf"):
        return f"dnf install {fedora}"
    if sys.platform == "darwin":
        return "xcode-select --install, and a Python from python.org or Homebrew"
    return f"install what Debian calls {debian}"


def glibc_version() -> tuple[int, ...]:
    try:
        return numbers((os.confstr("CS_GNU_LIBC_VERSION") or "").split()[-1])
    except (AttributeError, IndexError, OSError, ValueError):
        return ()


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def digest(lock: str) -> str:
    """Return what the environment was made from: its lock, the project's metadata and the folder that it points to."""
    whole = hashlib.sha256(str(ROOT).encode())
    for path in (LOCKS / lock, LOCKS / "build.txt", LOCKS / "uv.txt", ROOT / "pyproject.toml", Path(__file__)):
        whole.update(path.read_bytes() if path.exists() else b"")
    return whole.hexdigest()


def read_state() -> dict[str, str]:
    try:
        return json.loads(STATE.read_text())
    except (OSError, ValueError):
        return {}


def write_state(state: dict[str, str]) -> None:
    partial = STATE.with_suffix(".partial")
    partial.write_text(json.dumps(state))
    partial.replace(STATE)


def run(command: list, *, check: bool = True, **options: object) -> int:
    return subprocess.run(list(map(str, command)), cwd=ROOT, check=check, **options).returncode


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
