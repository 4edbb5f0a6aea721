PY := .venv/bin/python
FLYWHEEL := $(PY) -m flywheel
PYTHONS := $(PYTHON) python3 python3.11 python3.12 python3.13 python

.DEFAULT_GOAL := help
.PHONY: help setup torch demo test test-compat lint bench docs locks

help:  ## print this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s%s\n", $$1, $$2 }'

setup:  ## make .venv with the locked dependencies of this platform, or bring it in line with them
	@for python in $(PYTHONS); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null && exec "$$python" scripts/setup.py; \
	done; \
	echo "setup: no Python found: install Python 3.11 (on Debian: apt-get install python3 python3-venv python3-dev)" >&2; \
	exit 1

torch: setup  ## add PyTorch to .venv: its CPU build where there is one, else CUDA's, which is gigabytes
	@$(PY) scripts/setup.py torch

demo: setup  ## run the flights flywheel for three weeks and serve its champion
	@if [ -d demo ]; then $(FLYWHEEL) serve demo --stop; fi
	@rm -rf demo && cp -R examples/flights demo && rm -rf demo/.flywheel
	$(PY) demo/load.py
	$(FLYWHEEL) run demo --span 2013-06-01 --span 2013-06-08 --span 2013-06-15
	$(FLYWHEEL) serve demo --background

test: torch  ## run the tests; those marked long in CI alone, or with CI=true
	$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(if $(CI),,-m "not long") tests

test-compat:  ## run the tests on the newer dependency family, in a Debian 13 root under .compat (as root)
	sh scripts/compat.sh

lint: setup  ## ruff, mypy and the import contracts
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	sh scripts/types.sh

bench: torch  ## measure what the speed claims rest on; ONLY="startup run" picks
	$(PY) -m benchmarks $(ONLY)

docs: setup  ## build the documentation into site/
	$(PY) -m mkdocs build --strict

locks: setup  ## resolve the locked sets anew
	sh locks/update.sh
