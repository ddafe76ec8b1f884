# shellcheck shell=bash
# Sourced by the job scripts on every node: location of the code, its Python, and shared functions.
#
#     SWEEP_STORAGE    records and checkpoints, a folder that all nodes see, or s3://BUCKET/sweeps; required
#     SWEEP_HOME       the checkout; default: the folder that sbatch was called in
#     SWEEP_VENV       its virtual environment; default: $SWEEP_HOME/.venv
#     SWEEP_CONTAINER  instead of a virtual environment: "apptainer exec --nv /images/sweep.sif"
#     SWEEP_SECRETS    a file of NAME=VALUE lines that is read on the nodes (mode 600), for MLflow and the storage
#     SWEEP_DATA       the data stores; default: as everywhere else

: "${SLURM_JOB_ID:?this is a job script: sbatch deploy/slurm/...}"
: "${SWEEP_STORAGE:?export SWEEP_STORAGE=/shared/sweeps, a folder that all nodes see}"
SWEEP_HOME=${SWEEP_HOME:-$SLURM_SUBMIT_DIR}
cd "$SWEEP_HOME" || exit 2

if [[ -n ${SWEEP_SECRETS:-} ]]; then
    set -a
    # shellcheck disable=SC1090 # the user's own
    . "$SWEEP_SECRETS"
    set +a
fi
# `env` changes nothing; a command in the background keeps one process id either way.
runner=(env)
if [[ -n ${SWEEP_CONTAINER:-} ]]; then
    read -ra runner <<< "$SWEEP_CONTAINER"
else
    export PATH="${SWEEP_VENV:-$SWEEP_HOME/.venv}/bin:$PATH"
fi
# Raise the limit on open files to the node's maximum.
ulimit -n "$(ulimit -Hn)" 2> /dev/null || true

# Print a free port of this machine: several jobs, or tasks of an array, may share a node.
free_port() {
    "${runner[@]}" python -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}

alive() {
    kill -0 "$1" 2> /dev/null
}

# Wait for a process to end, whatever signals are caught meanwhile; its exit code is left in `status`.
# shellcheck disable=SC2034 # read by the caller
await() {
    wait "$1" && status=0 || status=$?
    while alive "$1"; do
        wait "$1" && status=0 || status=$?
    done
}

# Hand the job back to Slurm, which starts it again under its own id; ends this script.
requeue() {
    # A task of an array by its index: the id of one of them stands for the whole array.
    local job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
    if ((${SLURM_RESTART_COUNT:-0} >= ${SWEEP_MAX_REQUEUES:-50})); then
        echo "not requeued: it was ${SLURM_RESTART_COUNT:-0} times already (SWEEP_MAX_REQUEUES)" >&2
        exit 3
    fi
    echo "requeued: it goes on from the last checkpoints"
    scontrol requeue "${job:-$SLURM_JOB_ID}"
    exit 0
}
