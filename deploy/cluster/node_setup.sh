#!/usr/bin/env bash
# Python environment of a node, ~/venv, from the bundle that lies beside this script. An environment that is there already
# and has what constraints.txt names is kept: nothing is fetched then.
set -euo pipefail
bundle=$(cd "$(dirname "$0")" && pwd)
venv=$HOME/venv
export PATH=$HOME/.local/bin:$HOME/.sweep-uv/bin:$PATH UV_LINK_MODE=${UV_LINK_MODE:-hardlink}

wait_for_cloud_init() { # it holds apt's lock and may change the machine's packages
  if command -v cloud-init > /dev/null; then sudo cloud-init status --wait > /dev/null || true; fi
}

bring_uv() { # several times as fast as pip, and brings Python 3.11 where the system has another
  command -v uv > /dev/null && return
  python3 -m venv "$HOME/.sweep-uv" > /dev/null && "$HOME/.sweep-uv/bin/pip" install --quiet --retries 1 'uv>=0.8' && return
  rm -rf "$HOME/.sweep-uv"
  return 1
}

make_environment() {
  if bring_uv; then uv venv --quiet --python 3.11 "$venv"; else python3.11 -m venv "$venv"; fi
}

install() {
  if command -v uv > /dev/null; then
    uv pip install --quiet --python "$venv/bin/python" "$@"
  else
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
  fi
}

reinstall_option() { if command -v uv > /dev/null; then echo --reinstall; else echo --force-reinstall; fi; }

wait_for_cloud_init
[ -x "$venv/bin/python" ] || make_environment
# The code first: what is installed then satisfies the second command as far as it goes, without the network.
install --no-deps "$(reinstall_option)" "$bundle"/*.whl
install -c "$bundle/constraints.txt" 'sweep-service[cluster,search]'
grep -qs environment.sh "$HOME/.bashrc" || echo ". '$bundle/environment.sh'" >> "$HOME/.bashrc"
