#!/usr/bin/env bash
# Brings up a Kubernetes of one node on a bridge of its own: etcd, API server, controllers, scheduler, containerd, kubelet,
# kube-proxy and CoreDNS. Pods have addresses of 10.244.0.0/24, Services of 10.96.0.0/16; the machine itself is 10.244.0.1 to
# them. The node is Ready in about 10 seconds. Its ports on loopback begin with 12, so that they meet nobody else's.
# usage: up.sh BIN_DIR STATE_DIR     Writes STATE_DIR/admin.kubeconfig.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"/{log,pki,etcd,pid,containerd,kubelet,cni,iptables}
bin=$(cd "$1" && pwd) state=$(cd "$2" && pwd)
cd "$state"
. "$here/processes.sh"
node=10.244.0.1
kubectl() { "$bin/kubectl" --kubeconfig="$state/admin.kubeconfig" "$@"; }

make_bridge() {
  local other
  other=$(ip -o -4 addr show | awk '$2 != "fededge0" && $4 ~ /^10\.(244|96)\./ { print $2 " (" $4 ")"; exit }')
  [ -z "$other" ] || { echo "cluster: the network 10.244.0.0/24 is in use by $other" >&2; return 1; }
  ip link show fededge0 >/dev/null 2>&1 || { ip link add fededge0 type bridge; ip addr add $node/24 dev fededge0; }
  ip link set fededge0 up
  sysctl -qw net.ipv4.ip_forward=1
}

# The kernel may lack what one of the two faces of iptables needs: a Service is matched by comment and by chance.
choose_iptables() {
  local face flavour chosen=
  for flavour in legacy nft; do
    command -v iptables-$flavour >/dev/null || continue
    iptables-$flavour -t nat -N FEDEDGE-PROBE 2>/dev/null || continue
    iptables-$flavour -t nat -A FEDEDGE-PROBE -m comment --comment probe -m statistic --mode random --probability 0.5 -j RETURN 2>/dev/null && chosen=$flavour
    iptables-$flavour -t nat -F FEDEDGE-PROBE
    iptables-$flavour -t nat -X FEDEDGE-PROBE
    [ -z "$chosen" ] || break
  done
  [ -n "$chosen" ] || { echo "cluster: iptables cannot write the rules of Services on this kernel" >&2; return 1; }
  if iptables-$chosen-save 2>/dev/null | grep -q '^:KUBE-SERVICES'; then
    echo "cluster: this machine is a node of another Kubernetes" >&2
    return 1
  fi
  for face in iptables ip6tables; do
    ln -sf "$(command -v $face-$chosen)" iptables/$face
    ln -sf "$(command -v $face-$chosen-save)" iptables/$face-save
    ln -sf "$(command -v $face-$chosen-restore)" iptables/$face-restore
  done
}

# certificate NAME SUBJECT
certificate() {
  openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" 2>/dev/null \
    -extfile <(echo "subjectAltName=IP:127.0.0.1,IP:$node,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc")
}

make_certificates() (
  cd pki
  [ ! -f sa.pub ] || return 0
  openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=test-ca 2>/dev/null
  certificate apiserver /CN=kube-apiserver
  certificate admin /O=system:masters/CN=admin
  certificate kubelet /O=system:nodes/CN=system:node:node-1
  openssl genrsa -out sa.key 2048 2>/dev/null
  openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
)

write_kubeconfig() {
  cat >"$1.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://$node:6443", certificate-authority: $state/pki/ca.crt}}]
users: [{name: u, user: {client-certificate: $state/pki/$1.crt, client-key: $state/pki/$1.key}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
K
}

start_control_plane() {
  start etcd etcd --data-dir etcd --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
    --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
    --initial-cluster default=http://127.0.0.1:12380 --unsafe-no-fsync --log-level error
  start apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:12379 --bind-address=$node --advertise-address=$node \
    --secure-port=6443 --allow-privileged --service-cluster-ip-range=10.96.0.0/16 --client-ca-file=pki/ca.crt \
    --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key \
    --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key --kubelet-certificate-authority=pki/ca.crt \
    --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
    --service-account-issuer=https://kubernetes.default.svc --kubelet-preferred-address-types=InternalIP \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction
  wait_for "the API server" kubectl get --raw /readyz
  start controller-manager "$bin/kube-controller-manager" --kubeconfig=admin.kubeconfig \
    --service-account-private-key-file=pki/sa.key --root-ca-file=pki/ca.crt --use-service-account-credentials --leader-elect=false \
    --bind-address=127.0.0.1 --secure-port=12457 --cluster-cidr=10.244.0.0/16 --allocate-node-cidrs
  start scheduler "$bin/kube-scheduler" --kubeconfig=admin.kubeconfig --leader-elect=false --bind-address=127.0.0.1 --secure-port=12459
}

start_containerd() {
  # Inside a container the score by which the kernel picks what to kill cannot be lowered.
  cat >containerd/config.toml <<C
version = 2
root = "$state/containerd/root"
state = "$state/containerd/state"
[grpc]
  address = "$state/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$state/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "docker.io/library/pause:test"
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "${SNAPSHOTTER:-overlayfs}"
C
  cat >cni/10-bridge.conflist <<C
{"cniVersion":"0.4.0","name":"pods","plugins":[
 {"type":"bridge","bridge":"fededge0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{"type":"host-local","dataDir":"$state/cni/addresses","ranges":[[{"subnet":"10.244.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"loopback"}]}
C
  start containerd containerd --config containerd/config.toml
  wait_for containerd ctr -a "$state/containerd/containerd.sock" version
  ctr -a "$state/containerd/containerd.sock" -n k8s.io images import "$bin/pause.tar" >/dev/null
}

start_node() {
  cat >kubelet/config.yaml <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $state/pki/ca.crt}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
tlsCertFile: $state/pki/kubelet.crt
tlsPrivateKeyFile: $state/pki/kubelet.key
address: $node
healthzBindAddress: 127.0.0.1
healthzPort: 12448
cgroupDriver: cgroupfs
failSwapOn: false
containerRuntimeEndpoint: unix://$state/containerd/containerd.sock
# A changed ConfigMap reaches its pods with the next sync; a minute would be half of the test.
syncFrequency: 10s
clusterDNS: ["$node"]
clusterDomain: cluster.local
resolvConf: /dev/null
evictionHard: {memory.available: "100Mi"}
C
  cat >proxy.yaml <<C
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: $node
healthzBindAddress: 127.0.0.1:12456
metricsBindAddress: 127.0.0.1:12449
clientConnection: {kubeconfig: $state/admin.kubeconfig}
clusterCIDR: 10.244.0.0/16
hostnameOverride: node-1
mode: iptables
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
C
  PATH=$state/iptables:$PATH start kubelet "$bin/kubelet" --config=kubelet/config.yaml --kubeconfig=kubelet.kubeconfig \
    --hostname-override=node-1 --node-ip=$node --root-dir="$state/kubelet/root" --v=1
  wait_for "the node" kubectl get node node-1
  PATH=$state/iptables:$PATH start proxy "$bin/kube-proxy" --config proxy.yaml
  printf 'cluster.local:53 {\n  bind %s\n  kubernetes cluster.local {\n    kubeconfig %s\n  }\n}\n' $node "$state/admin.kubeconfig" >Corefile
  start coredns "$bin/coredns" -conf Corefile -quiet
  wait_for "the node's readiness" kubectl wait --for=condition=Ready node/node-1 --timeout=1s
}

make_bridge
refuse_taken $node:6443 $node:10250 $node:53 127.0.0.1:12379 127.0.0.1:12380 127.0.0.1:12457 127.0.0.1:12459 127.0.0.1:12448 127.0.0.1:12456 127.0.0.1:12449
choose_iptables
make_certificates
write_kubeconfig admin
write_kubeconfig kubelet
start_control_plane
start_containerd
start_node
echo "KUBECONFIG=$state/admin.kubeconfig"
