#!/usr/bin/env bash
# Starts a core Argo CD (application controller, ApplicationSet controller, repository server, Redis) as processes beside
# the cluster of KUBECONFIG, and a git daemon: the bare repository REPOS_DIR/x.git is git://127.0.0.1:12418/x.git to
# an Application. Argo CD looks at git every 5 seconds.
# usage: KUBECONFIG=... argocd.sh BIN_DIR STATE_DIR REPOS_DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"/{log,pid,argo/gpg,argo/tls,argo/ssh}
bin=$(cd "$1" && pwd) state=$(cd "$2" && pwd) repos=$(cd "$3" && pwd)
cd "$state"
. "$here/processes.sh"
export PATH=$bin:$PATH
refuse_taken 127.0.0.1:12418 127.0.0.1:12399 127.0.0.1:12481 127.0.0.1:12482 127.0.0.1:12484 127.0.0.1:12485 127.0.0.1:12486

kubectl create namespace argocd --dry-run=client -o yaml | kubectl apply -f - >/dev/null
kubectl apply --server-side --force-conflicts -f "$bin/application-crd.yaml" -f "$bin/appproject-crd.yaml" -f "$bin/applicationset-crd.yaml" >/dev/null
wait_for "Argo CD's kinds" kubectl wait --for=condition=Established --timeout=5s crd/applications.argoproj.io crd/appprojects.argoproj.io crd/applicationsets.argoproj.io
labels='labels: {app.kubernetes.io/part-of: argocd}'
{
  for name in rbac-cm cmd-params-cm ssh-known-hosts-cm tls-certs-cm gpg-keys-cm; do
    printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-%s, %s}\n' "$name" "$labels"
  done
  printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm, %s}\ndata: {timeout.reconciliation: 5s, timeout.reconciliation.jitter: 0s}\n' "$labels"
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: argocd-secret, %s}\nstringData: {server.secretkey: %s}\n' "$labels" "$(openssl rand -hex 32)"
  printf -- '---\napiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {name: default}\nspec: {sourceRepos: ["*"], destinations: [{namespace: "*", server: "*"}], clusterResourceWhitelist: [{group: "*", kind: "*"}]}\n'
} | kubectl apply -n argocd -f - >/dev/null

export ARGOCD_GPG_DATA_PATH=$state/argo/gpg ARGOCD_TLS_DATA_PATH=$state/argo/tls ARGOCD_SSH_DATA_PATH=$state/argo/ssh
export ARGOCD_GPG_ENABLED=false ARGOCD_FAKE_IN_CLUSTER=true
start git-daemon git daemon --reuseaddr --base-path="$repos" --export-all --listen=127.0.0.1 --port=12418 "$repos"
start redis redis-server --port 12399 --bind 127.0.0.1 --save "" --appendonly no
start repo-server "$bin/argocd-repo-server" --disable-tls --redis 127.0.0.1:12399 --address 127.0.0.1 --port 12481 --metrics-address 127.0.0.1 --metrics-port 12484 --revision-cache-expiration 5s
wait_for "Argo CD's repository server" grep -q listening log/repo-server.log
start application-controller "$bin/argocd-application-controller" --kubeconfig "$KUBECONFIG" --namespace argocd --repo-server 127.0.0.1:12481 --repo-server-plaintext --redis 127.0.0.1:12399 --app-resync 5 --metrics-port 12482
start applicationset-controller "$bin/argocd-applicationset-controller" --kubeconfig "$KUBECONFIG" --namespace argocd --argocd-repo-server 127.0.0.1:12481 --repo-server-plaintext --metrics-addr 127.0.0.1:12485 --probe-addr 127.0.0.1:12486
echo "argocd: started"
