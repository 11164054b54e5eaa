# syntax=docker/dockerfile:1
# Two stages: the first installs the dependencies, the second has only them and the code.
#   docker build -t hanzo-studio --build-arg TORCH_INDEX=URL_OF_THE_CPU_WHEELS .
#   docker run -p 127.0.0.1:8188:8188 -v studio:/data hanzo-studio

FROM python:3.11-slim AS dependencies

# The index of torch's CPU wheels; empty: what pip's usual index has. On x86-64 that may bring gigabytes of CUDA.
ARG TORCH_INDEX=""
# cpu or cuda; with cpu the build stops if torch brought CUDA.
ARG ACCELERATOR=cpu

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY pyproject.toml constraints.txt ./

RUN python -m venv /venv
RUN if [ -n "$TORCH_INDEX" ]; then /venv/bin/pip install -c constraints.txt --no-deps --index-url "$TORCH_INDEX" torch; fi
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
    && /venv/bin/pip install -c constraints.txt -r requirements.txt \
    && if [ "$ACCELERATOR" = cpu ] && ! /venv/bin/python -c "import sys, torch; sys.exit(torch.version.cuda is not None)"; then \
        echo "torch brought CUDA: pass --build-arg TORCH_INDEX=<index of CPU wheels>, or ACCELERATOR=cuda to keep it" >&2; exit 1; \
    fi \
    && /venv/bin/pip uninstall --yes pip


FROM python:3.11-slim

LABEL org.opencontainers.image.title="Hanzo Studio" org.opencontainers.image.licenses="Apache-2.0"

RUN useradd --system --uid 10001 --user-group --home-dir /data --create-home studio
COPY --from=dependencies /venv /venv
WORKDIR /app
COPY LICENSE README.md server.py ./
COPY execution execution
COPY nodes nodes
COPY web web
COPY examples examples
RUN python -m compileall -q .

ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER studio
VOLUME /data
EXPOSE 8188
STOPSIGNAL SIGINT

# Alive from the first second on, while nodes are still loading; /readyz tells when prompts are taken.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8188/healthz', timeout=4)"]

ENTRYPOINT ["python", "server.py", "--listen", "0.0.0.0", "--base-directory", "/data"]
