#!/bin/sh
# Resolve every lock anew with the uv that `make setup` fetched. Hashes of every file, no index named.
set -eu
cd "$(dirname "$0")/.."
uv=.venv/uv/bin/uv

resolve() { # LOCK PYTHON PLATFORM
    echo "locks/$1"
    "$uv" pip compile pyproject.toml --extra local --group dev --group docs --generate-hashes --no-header --no-annotate \
        --quiet --upgrade --python-version "$2" --python-platform "$3" --output-file "locks/$1"
}

resolve linux-x86_64-glibc2.28-py3.11.txt 3.11 x86_64-manylinux_2_28
resolve linux-x86_64-glibc2.39-py3.12.txt 3.12 x86_64-manylinux_2_39
resolve linux-x86_64-glibc2.39-py3.13.txt 3.13 x86_64-manylinux_2_39
resolve darwin-arm64-py3.12.txt 3.12 aarch64-apple-darwin # resolved, never tried

tool() { # LOCK REQUIREMENT…
    lock=$1
    shift
    echo "locks/$lock"
    printf '%s\n' "$@" | "$uv" pip compile - --generate-hashes --no-header --no-annotate --quiet --upgrade --universal \
        --python-version 3.11 --output-file "locks/$lock"
}

tool build.txt "setuptools<81" wheel # what builds pyfarmhash and the other packages without a wheel
tool uv.txt uv
