# The image: the dbt project and the loader, without unit tests and development tools.
# It runs with a read-only root, /tmp in memory and one volume. See docs/deployment.md.
ARG PYTHON=python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv --without-pip /opt/venv
COPY requirements-image.lock ./
RUN pip --python /opt/venv/bin/python install --require-hashes --only-binary=:all: -r requirements-image.lock
COPY pyproject.toml README.md LICENSE ./
COPY loader ./loader
# setuptools, from the lock, builds the package without an index, and is removed afterwards.
RUN pip --python /opt/venv/bin/python install --no-deps --no-build-isolation --no-index . \
    && pip --python /opt/venv/bin/python uninstall --yes setuptools

FROM ${PYTHON}
LABEL org.opencontainers.image.title="litellm-cbf" \
      org.opencontainers.image.description="LiteLLM spend logs to CloudZero's Common Bill Format" \
      org.opencontainers.image.licenses="Apache-2.0"
# The DuckDB file, which holds history; empty on PostgreSQL.
RUN install --directory --owner=65532 --group=65532 --mode=0750 /var/lib/litellm-cbf
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY dbt_project.yml ./
COPY profiles.example.yml ./profiles.yml
COPY macros ./macros
COPY models ./models
COPY seeds ./seeds
COPY tests/dbt ./tests/dbt
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    DBT_PROFILES_DIR=/app \
    DBT_TARGET_PATH=/tmp/dbt/target \
    DBT_LOG_PATH=/tmp/dbt/logs \
    DBT_SEND_ANONYMOUS_USAGE_STATS=false \
    LOADER_DUCKDB_PATH=/var/lib/litellm-cbf/spend.duckdb \
    LITELLM_SPEND_LOGS=/spend_logs/*
VOLUME /var/lib/litellm-cbf
# A number, so that Kubernetes can check that it is not root.
USER 65532:65532
EXPOSE 4100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4100/health', timeout=4)"]
ENTRYPOINT ["loader"]
# Inside a container, loopback would be the container's own. Needs LOADER_MASTER_KEY.
CMD ["serve", "--host", "0.0.0.0"]
