# Targets: bridge, client (producer and consumer), export (makes the model), triton (NVIDIA's image with
# what an ensemble decodes with).
# The bases are build arguments, so that they can be pinned by digest or come from a mirror:
#   docker build --target bridge --build-arg PYTHON_IMAGE=python@sha256:... .
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:26.11-py3
ARG PYTHON_IMAGE=python:3.11.17-slim-bookworm
# Dates that would be those of the build, in seconds: two builds of one source have the same content.
ARG SOURCE_DATE_EPOCH=1577836800

FROM ${PYTHON_IMAGE} AS base
ARG SOURCE_DATE_EPOCH
# User 1000 owns nothing that runs: the image is the same whoever the container runs as.
RUN useradd --uid 1000 --user-group --no-create-home --shell /usr/sbin/nologin app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
WORKDIR /app

# pip lives in an environment of its own, which no image keeps.
FROM ${PYTHON_IMAGE} AS pip
ARG SOURCE_DATE_EPOCH
# With it Python names a compiled file's source by its hash, not by its time.
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
RUN python -m venv /opt/pip \
    && python -m venv --without-pip /opt/venv
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
# Wheels alone: no compiler is needed, and none is there. The lock files name all that an image needs.
ENV PIP_INSTALL="/opt/pip/bin/pip --python /opt/venv/bin/python install --require-hashes --no-deps --only-binary=:all:" \
    WHEEL_INSTALL="/opt/pip/bin/pip --python /opt/venv/bin/python install --no-deps --no-index"

# The project's wheel, for each image with the packages that it runs and no others.
FROM pip AS project
WORKDIR /src
COPY requirements/build.lock /tmp/
RUN /opt/pip/bin/pip install --require-hashes --only-binary=:all: -r /tmp/build.lock
ENV BUILD_WHEEL="/opt/pip/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /dist ."
COPY pyproject.toml pyproject.toml
COPY README.md README.md
COPY LICENSE LICENSE
COPY NOTICE NOTICE
COPY wire wire
COPY imaging imaging
COPY storage storage
COPY tracing tracing
COPY schemas schemas
COPY cli cli

FROM project AS bridge-wheel
COPY bridge bridge
RUN $BUILD_WHEEL

FROM pip AS bridge-packages
COPY requirements/bridge.lock /tmp/
RUN $PIP_INSTALL -r /tmp/bridge.lock
COPY --from=bridge-wheel /dist /dist
RUN $WHEEL_INSTALL /dist/*.whl

FROM base AS bridge
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="triton-kafka-bridge" \
      org.opencontainers.image.description="Batched inference behind a Kafka bridge" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV BRIDGE_HTTP_HOST=0.0.0.0 \
    BRIDGE_HTTP_PORT=8080
COPY --from=bridge-packages /opt/venv /opt/venv
USER 1000:1000
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-S", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['BRIDGE_HTTP_PORT']), timeout=4); c.request('GET', '/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
# In exec form: the bridge is process 1 and gets the signals itself.
ENTRYPOINT ["tkb", "bridge"]

FROM project AS client-wheel
COPY data data
COPY producer producer
COPY consumer consumer
COPY deadletters deadletters
RUN $BUILD_WHEEL

FROM pip AS client-packages
COPY requirements/client.lock /tmp/
RUN $PIP_INSTALL -r /tmp/client.lock
COPY --from=client-wheel /dist /dist
RUN $WHEEL_INSTALL /dist/*.whl

FROM base AS client
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="triton-kafka-client" \
      org.opencontainers.image.description="Sends images to Kafka and measures the answers" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# matplotlib keeps a font cache.
ENV MPLCONFIGDIR=/tmp/matplotlib
COPY --from=client-packages /opt/venv /opt/venv
RUN install --directory --owner=app --group=app /results
USER 1000:1000
ENTRYPOINT ["tkb"]

FROM project AS export-wheel
COPY data data
COPY exporter exporter
RUN $BUILD_WHEEL

FROM pip AS export-packages
# Another lock file brings another build of torch, such as one for the CPU alone.
ARG EXPORT_LOCK=requirements/export.lock
# Where pip finds that build, beside its usual index: the lock file's hashes say what it may be.
ARG TORCH_INDEX=
COPY ${EXPORT_LOCK} /tmp/export.lock
RUN PIP_EXTRA_INDEX_URL=${TORCH_INDEX} $PIP_INSTALL -r /tmp/export.lock
COPY --from=export-wheel /dist /dist
RUN $WHEEL_INSTALL /dist/*.whl

FROM base AS export
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="triton-kafka-export" \
      org.opencontainers.image.description="Exports a PyTorch model into a Triton model repository" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=export-packages /opt/venv /opt/venv
# A new volume takes over the owner of the folder that it covers.
RUN install --directory --owner=app --group=app /models /cache
# Where torch keeps what it downloads; without it, in a home that this user has not got.
ENV TORCH_HOME=/cache
USER 1000:1000
ENTRYPOINT ["tkb", "export", "--repository", "/models"]

# The image's own numpy and DALI stay: packages of another CUDA would stand before them. What it lacks
# goes to a folder of its own, so that nothing of the image is replaced.
FROM ${TRITON_IMAGE} AS triton
ARG SOURCE_DATE_EPOCH
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="triton-kafka-triton" \
      org.opencontainers.image.description="Triton that can decode images for the bridge" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER root
COPY exporter/decoding/requirements-triton.lock /tmp/
RUN python3 -m pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps \
        --only-binary=:all: --target /opt/decoding -r /tmp/requirements-triton.lock \
    && PYTHONPATH=/opt/decoding python3 -c "import numpy, PIL, pyspng"
ENV PYTHONPATH=/opt/decoding
USER 1000:1000
