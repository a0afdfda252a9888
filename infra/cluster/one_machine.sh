#!/usr/bin/env bash
# Score an archive on this machine as a cluster would: a Ray head with token authentication, and a job submitted to it.
#
#     infra/cluster/one_machine.sh ARCHIVE OUT [more options of `emosphere score`]
#
# Starts a head of its own, submits, waits, and stops only what it started. Standard output is the run's result as one
# JSON line, standard error all the rest, and the exit code is the run's own.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 ARCHIVE OUT [more options of 'emosphere score']" >&2
  exit 2
fi
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
# The job runs in a copy of the checkout, where a relative path would mean another place.
absolute() { case "$1" in *://*) printf '%s' "$1" ;; *) realpath -m -- "$1" ;; esac; }
archive="$(absolute "$1")"
out="$(absolute "$2")"
shift 2

# Jobs are started as plain `python`, found on the PATH that the head was started with.
export PATH="$root/.venv/bin:$PATH"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
(umask 077 && ray get-auth-token --generate >/dev/null 2>&1)  # to ~/.ray/auth_token, unless there is one

# Also the port of the agent that starts jobs: Ray's own choice is one and the same for every head of a machine.
read -r port dashboard_port agent_port < <(python -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(server.getsockname()[1] for server in sockets))')
address="http://127.0.0.1:$dashboard_port"
scratch="$(mktemp -d /tmp/emosphere-ray.XXXXXX)"  # short: Ray keeps Unix sockets in it
cpus="$(nproc)"

# Scoring needs four logical CPUs to move; on a smaller machine they are only counted, not there.
ray start --head --block --port "$port" --dashboard-host 127.0.0.1 --dashboard-port "$dashboard_port" \
  --dashboard-agent-listen-port "$agent_port" --num-cpus "$((cpus > 4 ? cpus : 4))" \
  --temp-dir "$scratch" --disable-usage-stats --log-color false \
  >"$scratch/head.log" 2>&1 &
head=$!
# Not `ray stop`: it would stop every Ray of this user.
stop() {
  local code=$?
  kill "$head" 2>/dev/null && wait "$head" 2>/dev/null || true
  # What the head started may still write there for a moment.
  if [ "$code" = 1 ]; then echo "Ray's logs are kept in $scratch" >&2
  else for _ in $(seq 10); do rm -rf "$scratch" 2>/dev/null && break; sleep 1; done; fi
  exit "$code"
}
trap stop EXIT
for _ in $(seq 60); do
  kill -0 "$head" 2>/dev/null || { cat "$scratch/head.log" >&2; exit 1; }
  ray job list --address "$address" >/dev/null 2>&1 && break
  sleep 1
done

code=0
ray job submit --address "$address" --log-color false --working-dir "$root" \
  -- python -m jobs.score "$archive" --out "$out" --json "$@" 2>&1 | tee "$scratch/job.log" >&2 || code=$?

# `ray job submit` turns every failure into 1; the run's own code lies beside its tables.
python - "$scratch/job.log" "$out" "$code" <<'EOP' || exit $?
import json
import sys

import fsspec

log, out, code = sys.argv[1:]
lines = [line for line in open(log, encoding="utf-8", errors="replace") if line.startswith('{"')]
if not lines:  # it printed help, or died before it could say anything
    sys.exit(int(code))
result = json.loads(lines[-1])
if result.get("run_id"):
    with fsspec.open(f"{out}/_emosphere/runs/{result['run_id']}.json") as stored:
        result = json.load(stored)
print(json.dumps(result))
sys.exit(result.get("exit_code", int(code)))
EOP
