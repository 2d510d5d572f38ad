#!/usr/bin/env bash
# Ends what up.sh and argocd.sh started in this state folder, whatever became of them, and takes their mounts, their
# network rules and the bridge away. The folder's logs stay.
# usage: down.sh STATE_DIR
set -u
here=$(cd "$(dirname "$0")" && pwd)
state=$(cd "$1" 2>/dev/null && pwd) || exit 0
cd "$state" && mkdir -p pid log
. "$here/processes.sh"
socket=$state/containerd/containerd.sock

stop application-controller applicationset-controller repo-server redis git-daemon coredns proxy kubelet
if [ -S "$socket" ] && is_running containerd; then
  for task in $(timeout 20 ctr -a "$socket" -n k8s.io task ls -q 2>/dev/null); do
    timeout 5 ctr -a "$socket" -n k8s.io task kill -s SIGKILL "$task" >/dev/null 2>&1
  done
  sleep .5
fi
stop containerd scheduler controller-manager apiserver etcd

# The database of a test that was killed, by its folder (its process asks its own to end; its sessions end with it).
for process in /proc/[0-9]*; do
  tr '\0' '\n' <"$process/cmdline" 2>/dev/null | grep -qxF "$state/database/database/data" && kill -INT "${process#/proc/}" 2>/dev/null
done

# The shims outlive containerd: they are the processes that name its socket.
for process in /proc/[0-9]*; do
  tr '\0' '\n' <"$process/cmdline" 2>/dev/null | grep -qxF "$socket" && kill -9 "${process#/proc/}" 2>/dev/null
done
awk -v below="$state/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount"; done

# What kube-proxy and the kubelet wrote, in the face of iptables that they used.
export PATH=$state/iptables:$PATH
if [ -d iptables ]; then
  for face in iptables ip6tables; do
    $face-save 2>/dev/null | grep -v KUBE | $face-restore 2>/dev/null
  done
fi
ip link del fededge0 2>/dev/null
rm -f "$socket" "$socket.ttrpc"
exit 0
