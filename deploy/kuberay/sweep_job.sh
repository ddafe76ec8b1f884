#!/usr/bin/env bash
# A sweep as the command of a RayJob; its options are those of sweep.run. KubeRay tries every job again that failed, and
# sees no exit code. Bad input (2) would be refused again, and a sweep that was stopped or has spent its budget (3) is
# not to go on: such a job is stopped through Ray, with which KubeRay is done. All else that fails is tried again.
set -euo pipefail

job_id() { # the name under which this command was submitted
  python -c 'import json, os
print(json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])["metadata"]["job_submission_id"])'
}

code=0
python -m sweep.run "$@" || code=$?
if [ "$code" = 2 ] || [ "$code" = 3 ]; then
  echo "sweep.run ended with exit code $code; this job is stopped, so that it isn't tried again" >&2
  ray job stop --no-wait "$(job_id)" > /dev/null
  sleep 60 # it ends before
fi
exit "$code"
