#!/bin/sh
# mypy and import-linter over the package as it is installed, with components/ and pipelines/ inside flywheel/: neither
# sees through the mapping of an editable install.
set -eu
cd "$(dirname "$0")/.."
tree=build/types
rm -rf "$tree"
mkdir -p "$tree"
cp -Rp flywheel "$tree/"
cp -Rp components pipelines "$tree/flywheel/"
cp -p pyproject.toml "$tree/"
python=$PWD/.venv/bin/python
cache=$PWD/.mypy_cache
cd "$tree"
"$python" -m mypy --cache-dir "$cache" -p flywheel
"$python" -c 'import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command(["--no-logo"]))'
