# The image that serves: a virtual environment pinned by hashes on a slim Python, and nothing else.
# A team's own image is three lines:
#   FROM moorage
#   COPY tools.py .
#   ENV MOORAGE_TARGET=tools:mcp
# A digest pins it: --build-arg BASE_IMAGE=docker.io/library/python:3.13-slim-bookworm@sha256:...
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# The dependencies first: they change less often than the source. `ca` is an optional certificate bundle for networks with one of their own.
COPY requirements/run.txt requirements/build.txt requirements/
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python -m venv --without-pip /opt/moorage \
 && python -m pip --python /opt/moorage/bin/python install --quiet --only-binary=:all: --require-hashes -r requirements/run.txt \
 && python -m pip install --quiet --only-binary=:all: --require-hashes -r requirements/build.txt

COPY LICENSE README.md pyproject.toml ./
COPY service service
RUN python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /tmp/wheels . \
 && python -m pip --python /opt/moorage/bin/python install --quiet --no-deps --no-index /tmp/wheels/*.whl \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/moorage/lib

# hadolint ignore=DL3006
FROM ${BASE_IMAGE}
# The root filesystem is read-only where this runs: what Python would cache at the first start is written now. pip has no business here.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.*/site-packages/* /usr/local/lib/python3.*/ensurepip \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/moorage /opt/moorage
ENV PATH=/opt/moorage/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    MOORAGE_SERVER__HOST=0.0.0.0 \
    MOORAGE_ADMIN__HOST=0.0.0.0
# Tools are copied or mounted here; the directory is on the import path of a target.
WORKDIR /srv
USER 65532:65532
EXPOSE 8000 9090
STOPSIGNAL SIGTERM
HEALTHCHECK NONE
ENTRYPOINT ["moorage"]
CMD ["serve"]

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="moorage" \
      org.opencontainers.image.description="The production runtime for any MCP server" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
