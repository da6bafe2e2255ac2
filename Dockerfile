# syntax=docker/dockerfile:1
# The service and `extract` without PyTorch. Build:  docker build -t sympress .
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
RUN python -m venv /opt/sympress
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src ./src
RUN /opt/sympress/bin/pip install --constraint constraints.txt '.[serve]' \
    && /opt/sympress/bin/pip uninstall --yes pip \
    && ! /opt/sympress/bin/python -c 'import torch' 2>/dev/null

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="sympress" \
      org.opencontainers.image.description="Symptoms of clinical notes, over HTTP. Not validated for clinical use." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 sympress \
    && useradd --system --uid 10001 --gid sympress --no-create-home --shell /usr/sbin/nologin sympress
COPY --from=build /opt/sympress /opt/sympress
ENV PATH=/opt/sympress/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
# Outside loopback the service starts only with a key: SYMPRESS_API_KEY or --api-key-file.
ENTRYPOINT ["sympress"]
CMD ["serve", "--host", "0.0.0.0"]
