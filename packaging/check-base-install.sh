#!/usr/bin/env bash
# The base install in a fresh environment, as a newcomer has it: how long it takes, how large it is, that it
# holds no PyTorch, and how long the first line takes.
#   packaging/check-base-install.sh [ARTIFACT]      the rules unless ARTIFACT is given
set -euo pipefail
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
artifact=${1:+$(cd "$1" && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
TIMEFORMAT=%R

note() { printf '%-34s %s\n' "$1" "$2"; }

install() {
  "${PYTHON:-python3}" -m venv env
  env/bin/pip install --quiet --disable-pip-version-check --constraint "$source/constraints.txt" "$source"
}
answer() {
  echo "c/o fever and chills, denies cough" |
    env/bin/sympress extract - ${artifact:+--model "$artifact"} --format notes --quiet >answer.jsonl
}

note "install, seconds" "$({ time install >&2; } 2>&1 | tail -1)"
answer # compiles the packages that pip did not
note "first line, best of 5, seconds" "$(for _ in 1 2 3 4 5; do { time answer; } 2>&1; done | sort -n | head -1)"
note "environment, MB" "$(du -s --block-size=1000000 env | cut -f1)"
note "environment without pip, MB" \
  "$(env/bin/pip uninstall --quiet --yes pip 2>/dev/null; du -s --block-size=1000000 env | cut -f1)"
for package in torch transformers; do
  if env/bin/python -c "import $package" 2>/dev/null; then
    echo "$package is installed" >&2
    exit 1
  fi
done
cat answer.jsonl
