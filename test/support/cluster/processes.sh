# Sourced by the scripts beside it, in the folder of the cluster's state. A process is known by its id and the time at
# which it began, so that nothing is ended that only got the id of a process of ours.

began_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# start NAME COMMAND...: in a session of its own, its output in log/NAME.log
start() {
  local name=$1
  shift
  setsid "$@" >"log/$name.log" 2>&1 &
  echo "$! $(began_at $!)" >"pid/$name"
}

is_running() {
  local pid began
  read -r pid began <"pid/$1" 2>/dev/null && [ -n "$began" ] && [ "$(began_at "$pid")" = "$began" ]
}

# stop NAME...: asks each to end, waits up to 5 s for all of them, then ends them outright
stop() {
  local name
  for name in "$@"; do is_running "$name" && kill "$(cut -d' ' -f1 "pid/$name")"; done
  for name in "$@"; do
    for _ in $(seq 50); do is_running "$name" || break; sleep .1; done
    is_running "$name" && kill -9 "$(cut -d' ' -f1 "pid/$name")"
    rm -f "pid/$name"
  done
}

# wait_for WHAT COMMAND...: until it succeeds, a minute at most
wait_for() {
  local what=$1
  shift
  for _ in $(seq 240); do "$@" >/dev/null 2>&1 && return; sleep .25; done
  echo "cluster: $what did not become ready; its log is in $PWD/log" >&2
  return 1
}

# refuse_taken ADDRESS:PORT...: nobody else may listen there
refuse_taken() {
  local at taken
  for at in "$@"; do
    taken=$(ss -Hltnp "sport = :${at##*:}" | awk -v a="${at%:*}" -v p=":${at##*:}" '$4 == a p || $4 == "0.0.0.0" p || $4 == "*" p { print $NF; exit }')
    [ -z "$taken" ] || { echo "cluster: $at is in use by $taken" >&2; return 1; }
  done
}
