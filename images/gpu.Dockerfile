# The CPU's image with PyTorch and its CUDA 13 libraries, for steps that ask for a GPU; TensorFlow stays on the CPU in it.
#
#     docker build -f images/gpu.Dockerfile --build-arg CPU=flywheel/cpu:latest -t flywheel/gpu:latest .
#
# Wheels only, so there is no stage to compile in.
ARG CPU=flywheel/cpu:latest

FROM ${CPU} AS image
USER 0
COPY locks/image-gpu-linux-x86_64-glibc2.28-py3.11.txt /locks/
RUN pip install --no-cache-dir --require-hashes --no-deps -r /locks/image-gpu-linux-x86_64-glibc2.28-py3.11.txt \
    && pip check
USER 10001
