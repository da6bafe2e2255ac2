#!/usr/bin/env bash
# The wheel in an empty environment, as `pip install` gives it: built, installed without extras and without a
# checkout beside it, then asked for its version and for the first line of the README.
#   packaging/check-wheel.sh [WHEEL]      builds one unless WHEEL is given
set -euo pipefail
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wheel=${1:+$(realpath "$1")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir home
export HOME=$work/home PIP_DISABLE_PIP_VERSION_CHECK=1

"${PYTHON:-python3}" -m venv env
if [ -z "$wheel" ]; then
  env/bin/pip wheel --quiet --no-deps --wheel-dir wheels "$source"
  wheel=$(echo wheels/sympress-*.whl)
fi
env/bin/pip install --quiet --constraint "$source/constraints.txt" "$wheel"

version=$(env/bin/sympress --version)
test "$(basename "$wheel" | cut -d- -f2)" = "$version"
env/bin/python -c 'import sympress; assert sympress.__version__ == "'"$version"'"'

answer=$(echo "c/o fever and chills, denies cough" | env/bin/sympress extract - --format notes --quiet)
env/bin/python - "$answer" <<'CHECK'
import json, sys
said = {(one["symptom"], one["assertion"]) for one in json.loads(sys.argv[1])["mentions"]}
assert {("fever", "present"), ("chills", "present"), ("cough", "absent")} <= said, said
CHECK
# a word of the extra that is missing, and a way to install it
refused=$(env/bin/sympress serve 2>&1) && exit 1
test "$refused" = "sympress: fastapi is not installed: run pip install 'sympress[serve]'"
env/bin/python - <<'CHECK'
from importlib.metadata import files
names = {str(one) for one in files("sympress")}
assert any(name.endswith("licenses/NOTICE") for name in names), "NOTICE is not in the wheel"
assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
CHECK
echo "sympress $version: the wheel installs and answers"
