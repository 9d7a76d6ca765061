#!/usr/bin/env bash
# Checks the Python client: ruff and pyright, the tests on every Python from 3.10 on that
# is at hand, and the wheel, which is built, installed by itself and imported. What it
# needs comes from the package index once, at the versions of requirements.txt. The SDKs
# have left Python 3.10 behind: there the core is tested, which needs none of them.
# Arguments go to pytest, which then runs on one Python and alone.
set -euo pipefail
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/nonexistent

# pythons prints the bin folder of each Python, oldest first.
pythons() {
  local minor candidate
  for minor in 10 11 12 13 14 15; do
    for candidate in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python3; do
      if "$candidate" -c 'import ssl, venv, ensurepip' 2>/dev/null; then
        "$candidate" -c 'import os, sys; print(os.path.join(sys.base_prefix, "bin"))'
        break
      fi
    done
  done
}

# of_sdks tells whether the SDKs run on the Python of a bin folder.
of_sdks() { "$1/python3" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

# venv_of prints the virtual environment for the Python of a bin folder.
venv_of() { PATH="$1:$PATH" ../../deploy/test/venv.sh python-client requirements.txt; }

mapfile -t found < <(pythons)
[ ${#found[@]} -gt 0 ] || { echo "there is no Python 3.10 or newer, with venv" >&2; exit 1; }
for bin in "${found[@]}"; do
  main=$(venv_of "$bin")
  if of_sdks "$bin"; then break; fi # the oldest of them is the one that lints
done
if [ $# -gt 0 ]; then
  exec "$main/bin/python" -m pytest "$@"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "--- ruff, pyright"
"$main/bin/ruff" check --no-cache .
"$main/bin/ruff" format --no-cache --check .
"$main/bin/pyright" --pythonpath "$main/bin/python"

for bin in "${found[@]}"; do
  venv=$(venv_of "$bin")
  echo "--- tests, $("$venv/bin/python" --version)"
  what=(tests)
  of_sdks "$bin" || what=(tests/core)
  "$venv/bin/python" -m pytest -v "${what[@]}" >"$work/run.log" 2>&1 || { cat "$work/run.log"; exit 1; }
  tail -1 "$work/run.log"
  cat "$work/run.log" >>"$work/tests.log"
done
../../deploy/test/secrets.sh "$work/tests.log"

echo "--- wheel"
"$main/bin/python" -m build --no-isolation --wheel --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
for bin in "${found[@]}"; do
  rm -rf "$work/fresh"
  "$bin/python3" -m venv "$work/fresh"
  "$work/fresh/bin/pip" install --quiet --disable-pip-version-check --no-index "$work"/dist/*.whl
  (cd "$work" && fresh/bin/python -m cambio_client --version && fresh/bin/python -c '
import cambio_client, importlib.resources
assert importlib.resources.files(cambio_client).joinpath("py.typed").is_file()
for name in dir(cambio_client):
    assert name')
done
echo "--- a cached token"
PYTHONPATH=src "$main/bin/python" bench_cached.py
