# syntax=docker/dockerfile:1
# Targets: harness (the instrument alone, for agents at a URL), cpu (with the embedded agent), gpu (vLLM and CSM on CUDA).
#   docker build --target cpu -t turngap:cpu .
# BASE and GPU_BASE may be replaced by images of your own with Debian's or Ubuntu's packages and Python 3.11 or newer.
ARG BASE=python:3.12-slim-bookworm
ARG GPU_BASE=nvidia/cuda:13.0.2-runtime-ubuntu24.04

FROM ${BASE} AS harness
RUN useradd --create-home --uid 1000 turngap \
    && mkdir -p /var/cache/turngap /data/results /data/reports \
    && chown -R turngap /var/cache/turngap /data
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    TURNGAP_CACHE=/var/cache/turngap PATH=/opt/turngap/bin:$PATH
WORKDIR /data
RUN python3 -m venv /opt/turngap
COPY pyproject.toml README.md LICENSE NOTICE /src/
COPY harness /src/harness
COPY pipeline /src/pipeline
COPY scenarios /src/scenarios
RUN /opt/turngap/bin/pip install '/src[pytest]'
USER 1000
VOLUME /var/cache/turngap
ENTRYPOINT ["turngap"]
CMD ["--help"]

FROM harness AS cpu
USER 0
RUN /opt/turngap/bin/pip install '/src[cpu,live,pytest]'
USER 1000
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]

FROM ${GPU_BASE} AS gpu
# Python's version is the base's own; gcc and its headers build the kernels that are compiled on first use.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv python3-dev gcc \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --non-unique --uid 1000 turngap \
    && mkdir -p /var/cache/turngap /data/results /data/reports \
    && chown -R turngap /var/cache/turngap /data
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    TURNGAP_CACHE=/var/cache/turngap PATH=/opt/turngap/bin:$PATH
WORKDIR /data
RUN python3 -m venv /opt/turngap
COPY pyproject.toml README.md LICENSE NOTICE /src/
COPY harness /src/harness
COPY pipeline /src/pipeline
COPY scenarios /src/scenarios
RUN /opt/turngap/bin/pip install '/src[gpu,live,pytest]'
USER 1000
VOLUME /var/cache/turngap
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=600s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
ENTRYPOINT ["turngap"]
CMD ["--help"]
