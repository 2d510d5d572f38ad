#!/usr/bin/env bash
# Installs what the test cluster runs of Debian's packages: etcd, containerd, runc, CNI plugins, Redis, and tools. Not part of
# build.sh, which may run beside tests that install packages themselves.
# usage: packages.sh
set -euo pipefail
say() { echo "cluster: $*"; }

missing=()
for pair in etcd:etcd-server containerd:containerd runc:runc redis-server:redis-server iptables:iptables ip:iproute2 openssl:openssl conntrack:conntrack git:git; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[ -d /usr/lib/cni ] || missing+=(containernetworking-plugins)
[ ${#missing[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null || { say "these packages are needed: ${missing[*]}" >&2; exit 1; }
say "installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
