# shellcheck shell=bash
# Sourced on the head node: take head.env out of the folder that the autoscaler brings to its workers, then read both files.
mkdir -p "$HOME/.sweep-head"
chmod 700 "$HOME/.sweep-head"
[ ! -f "$HOME/.sweep-secrets/head.env" ] || mv -f "$HOME/.sweep-secrets/head.env" "$HOME/.sweep-head/env"
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
