#!/usr/bin/env bash
# What the head node alone has: MLflow's password, and its database where head.env names PostgreSQL.
set -euo pipefail
. "$(dirname "$0")/head_secrets.sh"
case "$MLFLOW_STORE" in
  postgresql*) ;;
  *) exit 0 ;;
esac
if ! command -v psql > /dev/null; then
  sudo apt-get update -qq -o DPkg::Lock::Timeout=300
  sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=300 postgresql > /dev/null
fi
[ -n "$(pg_lsclusters --no-header | grep online)" ] || sudo service postgresql start
for _ in $(seq 60); do sudo -u postgres psql -qc 'select 1' > /dev/null 2>&1 && break; sleep 1; done
as_postgres() { sudo -u postgres psql -qtAc "$1"; }
[ "$(as_postgres "select 1 from pg_roles where rolname = '$(id -un)'")" = 1 ] || sudo -u postgres createuser "$(id -un)"
[ "$(as_postgres "select 1 from pg_database where datname = 'mlflow'")" = 1 ] ||
  sudo -u postgres createdb -O "$(id -un)" mlflow
