#!/usr/bin/env bash
# A sweep as the command of a RayJob; its options are those of sweep.run. KubeRay retries every failed job and doesn't
# see exit codes. Bad input (2) would be refused again, and a sweep that was stopped or has spent its budget (3) must not
# continue: such a job is stopped through Ray, and KubeRay doesn't retry it. Other failures are retried.
set -euo pipefail

job_id() { # the id of this submitted job
  python -c 'import json, os
print(json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])["metadata"]["job_submission_id"])'
}

code=0
python -m sweep.run "$@" || code=$?
if [ "$code" = 2 ] || [ "$code" = 3 ]; then
  echo "sweep.run ended with exit code $code; this job is stopped, so that it isn't retried" >&2
  ray job stop --no-wait "$(job_id)" > /dev/null
  sleep 60 # Ray ends this script before
fi
exit "$code"
