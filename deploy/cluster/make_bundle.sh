#!/usr/bin/env bash
# Bundle of what every node needs: make_bundle.sh [FOLDER]. A wheel of the code, its pins and the nodes' scripts; nothing
# else of the checkout can travel, whatever lies in it. PYTHON names the interpreter that builds the wheel.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
bundle=${1:-$HOME/.sweep-bundle}
python=${PYTHON:-$checkout/.venv/bin/python}
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
cp -r "$checkout"/{pyproject.toml,README.md,sweep,trainables,search_spaces} "$source"
find "$source" \( -name __pycache__ -o -name '.env*' -o -name '*.pem' -o -name exports \) -prune -exec rm -rf {} +
# Wheels have the times of their files: the same code gives the same bundle, and `ray up` finds it unchanged.
find "$source" -exec touch -d 2000-01-01T00:00:00Z {} +
export SOURCE_DATE_EPOCH=946684800
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$source/wheels" "$source"
rm -rf "$bundle"
mkdir -p "$bundle"
cp "$source"/wheels/*.whl "$checkout/constraints.txt" "$checkout"/deploy/cluster/*.{sh,py} "$bundle"
rm -f "$bundle/make_bundle.sh"
echo "$bundle: $(ls "$bundle" | tr '\n' ' ')"
