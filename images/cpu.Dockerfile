# Image of the steps, for x86-64: Python 3.11, the older family of dependencies, kfp in it.
#
#     docker build -f images/cpu.Dockerfile -t flywheel/cpu:latest .
#
# PYTHON has to be Debian 12 or newer with Python 3.11 as `python3`.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/flywheel && python3 -m venv /opt/uv
COPY locks/uv.txt locks/build.txt locks/image-linux-x86_64-glibc2.28-py3.11.txt /locks/
RUN /opt/uv/bin/pip install --no-cache-dir --require-hashes --no-deps -r /locks/uv.txt
# Bytecode is made here, once: nobody can write beside the sources when a step runs.
ENV VIRTUAL_ENV=/opt/flywheel UV_NO_CACHE=1 UV_SYSTEM_CERTS=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_HTTP_TIMEOUT=300
RUN /opt/uv/bin/uv pip install --require-hashes --no-deps -r /locks/build.txt \
    && /opt/uv/bin/uv pip install --require-hashes --no-deps --no-build-isolation \
        -r /locks/image-linux-x86_64-glibc2.28-py3.11.txt
COPY pyproject.toml README.md LICENSE /src/
COPY flywheel /src/flywheel
COPY components /src/components
COPY pipelines /src/pipelines
RUN /opt/uv/bin/uv pip install --no-deps --no-build-isolation /src \
    && /opt/uv/bin/uv pip check

FROM ${PYTHON} AS image
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin flywheel
COPY --from=build /opt/flywheel /opt/flywheel
# All that is written goes to /tmp and to the volumes that Kubeflow mounts: the root may be read-only.
ENV PATH=/opt/flywheel/bin:${PATH} HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A step's log is read by people: what TensorFlow and Google's libraries say of themselves at each start is left out.
ENV TF_CPP_MIN_LOG_LEVEL=2 PYTHONWARNINGS="ignore:You are using a Python version:FutureWarning"
USER 10001
WORKDIR /tmp
CMD ["flywheel", "--help"]
