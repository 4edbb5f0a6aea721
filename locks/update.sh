#!/bin/sh
# Resolve every lock anew with the uv that `make setup` fetched. Hashes of every file, no index named.
set -eu
cd "$(dirname "$0")/.."
uv=.venv/uv/bin/uv
export MACOSX_DEPLOYMENT_TARGET=14.0 # what the wheels of PyTorch and Faiss are for; uv takes an older one by itself

resolve() { # LOCK PYTHON PLATFORM
    echo "locks/$1"
    "$uv" pip compile pyproject.toml --extra local --extra onnx --extra index --group dev --group bench --group docs --generate-hashes --no-header --no-annotate \
        --quiet --upgrade --python-version "$2" --python-platform "$3" --output-file "locks/$1"
}

resolve linux-x86_64-glibc2.28-py3.11.txt 3.11 x86_64-manylinux_2_28
resolve linux-x86_64-glibc2.39-py3.12.txt 3.12 x86_64-manylinux_2_39
resolve linux-x86_64-glibc2.39-py3.13.txt 3.13 x86_64-manylinux_2_39
resolve darwin-arm64-py3.12.txt 3.12 aarch64-apple-darwin # resolved, never tried

# PyTorch apart: on Linux the index's wheel needs gigabytes of CUDA, a CPU build needs nothing of it. `torch-cpu.txt` names
# the CPU build of the same version by hand, since the index does not have it.
torch() { # LOCK PYTHON PLATFORM
    echo "locks/torch-$1"
    grep -E '^[a-z].*==' "locks/$1" | sed 's/ .*//' >locks/.constraints
    echo "torch==2.13.0" | "$uv" pip compile - --constraints locks/.constraints \
        --generate-hashes --no-header --no-annotate --quiet --python-version "$2" --python-platform "$3" |
        awk 'FNR == NR { known[$1]; next } /^[a-z]/ { new = !($1 in known) } new' locks/.constraints - >"locks/torch-$1"
    rm locks/.constraints
}

torch linux-x86_64-glibc2.28-py3.11.txt 3.11 x86_64-manylinux_2_28
torch linux-x86_64-glibc2.39-py3.12.txt 3.12 x86_64-manylinux_2_39
torch linux-x86_64-glibc2.39-py3.13.txt 3.13 x86_64-manylinux_2_39
torch darwin-arm64-py3.12.txt 3.12 aarch64-apple-darwin # resolved, never tried

tool() { # LOCK REQUIREMENT…
    lock=$1
    shift
    echo "locks/$lock"
    printf '%s\n' "$@" | "$uv" pip compile - --generate-hashes --no-header --no-annotate --quiet --upgrade --universal \
        --python-version 3.11 --output-file "locks/$lock"
}

tool build.txt "setuptools<81" wheel # what builds pyfarmhash and the other packages without a wheel
tool uv.txt uv

# The images: what steps need, without what tests and documentation do; the GPU's is laid over the CPU's.
image() { # LOCK PYTHON PLATFORM
    echo "locks/image-$1"
    # botocore and fsspec: the buckets' libraries want older ones than the rest.
    grep -E '^[a-z].*==' "locks/$1" | sed 's/ .*//' | grep -Ev '^(fsspec|boto3|botocore|s3transfer)==' >locks/.constraints
    "$uv" pip compile pyproject.toml --extra local --extra onnx --extra index --extra buckets --constraints locks/.constraints \
        --generate-hashes --no-header --no-annotate --quiet --python-version "$2" --python-platform "$3" \
        --output-file "locks/image-$1"
    grep -E '^[a-z].*==' "locks/image-$1" | sed 's/ .*//' >locks/.constraints
    echo "torch==2.13.0" | "$uv" pip compile - --constraints locks/.constraints --generate-hashes --no-header \
        --no-annotate --quiet --python-version "$2" --python-platform "$3" |
        awk 'FNR == NR { known[$1]; next } /^[a-z]/ { new = !($1 in known) } new' locks/.constraints - >"locks/image-gpu-$1"
    rm locks/.constraints
}

image linux-x86_64-glibc2.28-py3.11.txt 3.11 x86_64-manylinux_2_28
