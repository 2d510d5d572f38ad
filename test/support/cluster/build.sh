#!/usr/bin/env bash
# Builds what the test cluster runs from the modules of Go: Kubernetes, Argo CD, kustomize, kubeconform, CoreDNS and the
# image of the pause process; the rest are packages (packages.sh). It takes 12 to 25 minutes on two cores; what is there
# already is left alone.
# usage: build.sh BIN_DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
bin=$(cd "$1" && pwd)
say() { echo "cluster: $*"; }

# build NAME MODULE PACKAGE
build() {
  [ ! -x "$bin/$1" ] || return 0
  local began=$SECONDS
  (cd "$here/$2" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags="$stamp" -o "$bin/$1.new" "$3")
  mv "$bin/$1.new" "$bin/$1"
  say "built $1 in $((SECONDS - began)) s"
}

# fetch NAME PACKAGE@VERSION
fetch() {
  [ ! -x "$bin/$1" ] || return 0
  CGO_ENABLED=0 GOBIN=$bin go install "$2"
  say "installed $1"
}

# An image archive of one static binary: a layer, a configuration and a manifest.
pack_pause() {
  [ ! -f "$bin/pause.tar" ] || return 0
  local work layer config
  work=$(mktemp -d)
  (cd "$here/pause" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$work/app" pause.go)
  tar -C "$work" --owner=0 --group=0 --mtime=@0 -cf "$work/layer.tar" app
  layer=$(sha256sum <"$work/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/app"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$(go env GOARCH)" "$layer" >"$work/config.json"
  config=$(sha256sum <"$work/config.json" | cut -d' ' -f1)
  mv "$work/config.json" "$work/$config.json"
  printf '[{"Config":"%s.json","RepoTags":["docker.io/library/pause:test"],"Layers":["layer.tar"]}]' "$config" >"$work/manifest.json"
  tar -C "$work" -cf "$bin/pause.tar.new" manifest.json "$config.json" layer.tar
  mv "$bin/pause.tar.new" "$bin/pause.tar"
  rm -rf "$work"
}

# One build at a time; the others find what they need afterwards.
exec 9>"$bin/.lock"
flock -n 9 || { say 'waiting for another build'; flock 9; }
command -v go >/dev/null || { say "Go 1.24 or newer is needed" >&2; exit 1; }

# The servers say their version by what the linker stamps into them.
version=$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" { print $3 }' "$here/kubernetes/go.mod")
minor=${version#v1.}
package=k8s.io/component-base/version
stamp="-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"

for part in kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet kube-proxy; do
  build "$part" kubernetes "k8s.io/kubernetes/cmd/$part"
done
build argocd argocd github.com/argoproj/argo-cd/v3/cmd
for part in application-controller repo-server applicationset-controller; do ln -sf argocd "$bin/argocd-$part"; done
fetch kustomize sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
fetch kubeconform github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0
fetch coredns github.com/coredns/coredns@v1.12.4
if [ ! -f "$bin/applicationset-crd.yaml" ]; then
  crds=$(cd "$here/argocd" && go list -m -f '{{.Dir}}' github.com/argoproj/argo-cd/v3)/manifests/crds
  for kind in application appproject applicationset; do install -m 644 "$crds/$kind-crd.yaml" "$bin/"; done
fi
pack_pause
say "ready in $bin"
