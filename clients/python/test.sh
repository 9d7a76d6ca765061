#!/usr/bin/env bash
# Checks the Python client: ruff and pyright, the tests on every Python from 3.10 on that
# is at hand, and the wheel, which is built, installed by itself and imported. What it
# needs comes from the package index once, at the versions of requirements.txt.
#
# What differs from Python to Python is what the core stands on (sockets, TLS, threads,
# forks, event loops): it is tested on each, and so are OCI's signatures, which need no
# SDK. An adapter is glue to an SDK, which the SDK's makers test on each Python, and
# pyright reads it as Python 3.10 would: the newest two are enough for those. The SDKs
# have left 3.10 behind.
#
# Arguments go to pytest, which then runs on the newest Python, and alone.
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

# venv_of prints the virtual environment for the Python of a bin folder, with the SDKs
# where they are tested: those lines of requirements.txt name the Python that they need.
venv_of() {
  if [[ " $with_sdks " == *" $1 "* ]]; then
    PATH="$1:$PATH" ../../deploy/test/venv.sh python-client requirements.txt
  else
    PATH="$1:$PATH" ../../deploy/test/venv.sh python-client-core "$work/core.txt"
  fi
}

# lint checks all that is written.
lint() {
  local main
  main=$(venv_of "$newest")
  "$main/bin/ruff" check --no-cache .
  "$main/bin/ruff" format --no-cache --check .
  "$main/bin/pyright" --pythonpath "$main/bin/python"
}

# tests runs them on the Python of a bin folder. None is left out.
tests() {
  local venv what=(tests)
  venv=$(venv_of "$1")
  [[ " $with_sdks " == *" $1 "* ]] || what=(tests/core tests/test_oci.py tests/test_oci_session.py)
  "$venv/bin/python" --version
  "$venv/bin/python" -m pytest -v "${what[@]}"
}

# run does one of these, and says how it ended.
run() {
  local log="$work/${*//\//_}.log"
  if "$@" >"$log" 2>&1 && ! grep -E '[0-9]+ (skipped|deselected|xfailed|xpassed)' "$log"; then
    case $1 in
      tests) echo "--- $1, $(sed -n '/^Python/{p;q}' "$log"): $(tail -1 "$log" | tr -d =)" ;;
      *) echo "--- $1: $(tail -1 "$log")" ;;
    esac
  else
    cat "$log"
    return 1
  fi
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -v 'python_version >=' requirements.txt >"$work/core.txt"
mapfile -t found < <(pythons)
with_sdks="" newest=""
for bin in "${found[@]}"; do
  if of_sdks "$bin"; then with_sdks="$newest $bin" newest=$bin; fi
done
[ -n "$newest" ] || { echo "there is no Python 3.11 or newer, with venv" >&2; exit 1; }
if [ $# -gt 0 ]; then
  "$(venv_of "$newest")/bin/python" -m pytest "$@"
  exit
fi

# Two at a time: the tests wait for each other's servers and threads more than they work.
export work with_sdks newest
export -f venv_of lint tests run
{ printf 'tests %s\n' "${found[@]}" | tac && echo lint; } |
  xargs -P 2 -I '{}' bash -c 'set -euo pipefail; read -ra what <<<"$1"; run "${what[@]}"' - '{}'
cat "$work"/*.log >"$work/all"
../../deploy/test/secrets.sh "$work/all"

echo "--- wheel"
main=$(venv_of "$newest")
"$main/bin/python" -m build --no-isolation --wheel --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
for bin in "${found[@]}"; do
  rm -rf "$work/fresh"
  "$bin/python3" -m venv "$work/fresh"
  "$work/fresh/bin/pip" install --quiet --disable-pip-version-check --no-index "$work"/dist/*.whl
  (cd "$work" && fresh/bin/python -m cambio_client --version && fresh/bin/python -c '
import cambio_client, importlib.resources
assert importlib.resources.files(cambio_client).joinpath("py.typed").is_file()
for name in dir(cambio_client):
    getattr(cambio_client, name)  # no SDK is there')
done
echo "--- a cached token"
PYTHONPATH=src "$main/bin/python" bench_cached.py
