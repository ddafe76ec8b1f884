#!/usr/bin/env bash
# Ray on one node of a job, until SIGTERM: node.sh head|worker HOST:PORT. Started by sweep.sbatch through srun.
set -euo pipefail
# shellcheck source=deploy/slurm/environment.sh
. "${SWEEP_HOME:-$SLURM_SUBMIT_DIR}/deploy/slurm/environment.sh"
ray=""
# Slurm may have signalled Ray, too.
trap 'if [[ -n $ray ]]; then kill -TERM "$ray" 2> /dev/null || true; else exit 143; fi' TERM
role=$1 host=${2%:*} port=${2##*:}

# Ray's sockets are in it, and a socket's path has at most 107 characters. Ray opens its folder to every user of the node,
# so it is inside a folder of mode 0700.
folder=$(mktemp -d "/tmp/ray-$SLURM_JOB_ID-XXXXXX")
options=(
    --temp-dir="$folder/r" --block --disable-usage-stats
    # Without these Ray counts the whole machine, even if the job has only a part of it.
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}"
    # Small, since images and checkpoints are files: only messages use the object store.
    --object-store-memory=$((512 * 1024 * 1024))
    # Fixed ports by default, which another job on this node may hold.
    --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port="$(free_port)"
)
if [[ $role == head ]]; then
    options+=(--head --node-ip-address="$host" --port="$port" --ray-client-server-port="$(free_port)")
    options+=(--include-dashboard=false --resources='{"trial_driver": 1000}')
else
    deadline=$((SECONDS + ${SWEEP_START_SECONDS:-300}))
    until (: > "/dev/tcp/$host/$port") 2> /dev/null; do
        ((SECONDS < deadline)) || { echo "$(hostname): no head answers at $2" >&2; exit 1; }
        sleep 1
    done
    options+=(--address="$2")
fi

trap 'rm -rf "$folder"' EXIT
"${runner[@]}" ray start "${options[@]}" &
ray=$!
await "$ray"
# shellcheck disable=SC2154 # set by await
exit "$status"
