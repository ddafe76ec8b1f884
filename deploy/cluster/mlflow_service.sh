#!/usr/bin/env bash
# MLflow's server on the head node, supervised: mlflow_service.sh start | stop | status. It survives `ray up` and is
# started again when it dies: by systemd for the user where it runs, else by a loop with a pid file. `start` waits until
# the server answers; where it doesn't, it prints the log and fails, and `ray up` with it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/head_secrets.sh"
folder=$HOME/.sweep-mlflow
log=$folder/mlflow.log
pid_file=$folder/supervisor.pid
unit=sweep-mlflow.service
port=${MLFLOW_PORT:-5000}
patience=${MLFLOW_START_SECONDS:-180}
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder" # where the server puts basic_auth.db

has_systemd() { systemctl --user show-environment > /dev/null 2>&1; }
healthy() {
  python - "$port" << 'END' 2> /dev/null
import sys, urllib.request
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{sys.argv[1]}/health", timeout=5)
END
}
supervised() {
  if has_systemd; then systemctl --user is-active --quiet "$unit"; else
    [ -f "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2> /dev/null
  fi
}

serve() { # in the foreground; systemd or the loop starts it again
  "$here/mlflow_backup.py" restore
  # The addresses by the environment: every user of the machine sees a command line.
  export MLFLOW_BACKEND_STORE_URI=$MLFLOW_STORE MLFLOW_ARTIFACTS_DESTINATION=$MLFLOW_ARTIFACTS
  exec mlflow server --app-name basic-auth --host 127.0.0.1 --port "$port" --workers 1 --serve-artifacts
}

supervise() { # without systemd: three failures within a minute of their start end it
  failures=0
  trap 'kill -- "-$server" 2> /dev/null; wait "$server"; exit 0' TERM INT
  while sleep "${MLFLOW_BACKUP_SECONDS:-900}"; do "$here/mlflow_backup.py" save || true; done &
  while [ "$failures" -lt 3 ]; do
    started=$SECONDS
    setsid "$0" serve & # a group of its own, whose other processes go when the first one is killed, and free the port
    server=$!
    echo "$server" > "$folder/server.pid"
    wait "$server" || echo "the server ended with exit code $?"
    kill -9 -- "-$server" 2> /dev/null || true
    if [ $((SECONDS - started)) -gt 60 ]; then failures=0; else failures=$((failures + 1)); fi
    sleep 2
  done
  rm -f "$pid_file"
  kill -- "-$$" # with what waits for the next copy
}

write_units() {
  local units=$HOME/.config/systemd/user
  mkdir -p "$units"
  printf '%s\n' '[Unit]' 'Description=MLflow tracking server' 'StartLimitIntervalSec=120' 'StartLimitBurst=3' \
    '[Service]' "ExecStart=$here/mlflow_service.sh serve" "StandardOutput=append:$log" "StandardError=append:$log" \
    'Restart=on-failure' 'RestartSec=2' '[Install]' 'WantedBy=default.target' > "$units/$unit"
  printf '%s\n' '[Unit]' 'Description=Copy of the MLflow database' '[Service]' 'Type=oneshot' \
    "ExecStart=$here/mlflow_service.sh backup" > "$units/sweep-mlflow-backup.service"
  printf '%s\n' '[Timer]' 'OnUnitActiveSec=15min' 'OnActiveSec=15min' '[Install]' 'WantedBy=timers.target' \
    > "$units/sweep-mlflow-backup.timer"
}

launch() {
  : > "$log"
  chmod 600 "$log"
  if has_systemd; then
    # It runs on after the SSH session.
    if [ "$(id -u)" = 0 ]; then loginctl enable-linger root; else sudo loginctl enable-linger "$(id -un)"; fi
    write_units
    systemctl --user daemon-reload
    systemctl --user reset-failed "$unit" 2> /dev/null || true
    systemctl --user enable --quiet --now "$unit" sweep-mlflow-backup.timer
  else
    setsid nohup "$0" supervise >> "$log" 2>&1 < /dev/null &
    echo $! > "$pid_file"
  fi
}

start() {
  supervised || launch
  local until=$((SECONDS + patience))
  until healthy; do
    if ! supervised || [ $SECONDS -gt $until ]; then
      echo "MLflow's server did not start; the end of $log:" >&2
      tail -n 40 "$log" >&2
      stop
      exit 1
    fi
    sleep 1
  done
  echo "MLflow answers on port $port"
}

stop() {
  if has_systemd; then
    systemctl --user disable --quiet --now "$unit" sweep-mlflow-backup.timer 2> /dev/null || true
  elif supervised; then
    kill -- "-$(cat "$pid_file")" 2> /dev/null || true
    for _ in $(seq 20); do supervised || break; sleep 0.5; done
    kill -9 -- "-$(cat "$pid_file")" "-$(cat "$folder/server.pid")" 2> /dev/null || true
  fi
  rm -f "$pid_file"
}

case "${1:-}" in
  start | stop | serve | supervise) "$1" ;;
  status) if healthy; then echo "MLflow answers on port $port"; else exit 1; fi ;;
  backup) "$here/mlflow_backup.py" save ;;
  *) echo "usage: $0 start | stop | status | backup" >&2; exit 2 ;;
esac
