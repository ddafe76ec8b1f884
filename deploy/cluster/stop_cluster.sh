#!/usr/bin/env bash
# On the head node of machines of your own, before `ray down`, which stops the head's Ray alone: a last copy of MLflow's
# database, then Ray on every machine, then MLflow's server.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/head_secrets.sh"
"$here/mlflow_backup.py" save || true
stop_worker() {
  echo "$2: $(ssh -n -q -i "$HOME/ray_bootstrap_key.pem" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
    -o ConnectTimeout=20 "$1@$2" 'venv/bin/ray stop; venv/bin/ray stop --force' 2>&1 | tail -n 1)"
}
# The autoscaler first, which would start the workers again; what doesn't end in time, by force.
ray stop
ray stop --force
python - << 'END' | { while read -r user worker; do stop_worker "$user" "$worker" & done; wait; } # all at once
import pathlib
import yaml

config = yaml.safe_load(pathlib.Path("~/ray_bootstrap_config.yaml").expanduser().read_text())
for worker in config["provider"].get("worker_ips", []):
    print(config["auth"]["ssh_user"], worker)
END
"$here/mlflow_service.sh" stop
