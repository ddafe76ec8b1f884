# shellcheck shell=bash
# Sourced by every shell of a node and before Ray starts: the secrets, the environment, as many open files as may be.
set -a
. "$HOME/.sweep-secrets/env"
[ ! -f "$HOME/.sweep-head/env" ] || . "$HOME/.sweep-head/env" # the head node's alone
set +a
export PATH="$HOME/venv/bin:$PATH"
ulimit -n 65536 2> /dev/null || ulimit -n "$(ulimit -Hn)"
