#!/usr/bin/env bash
# venv.sh NAME REQUIREMENTS prints the folder of a Python virtual environment that
# holds what the file REQUIREMENTS lists, to the version, and nothing besides. It is
# kept outside the checkout, under the user's cache, by what it was made from; it comes
# from the package index once.
set -euo pipefail
name=$1 requirements=$2

command -v python3 >/dev/null || { echo "there is no python3: install Python 3.11 or newer, with venv" >&2; exit 1; }
sum=$({ cat "$requirements"; python3 --version; } | sha256sum | cut -c1-12)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/cambio/$name-$sum
if [ ! -e "$venv/whole" ]; then
  # One at a time: who took the folder away under another's pip would have that install
  # into the machine's own Python. The lock is this shell's, and ends with it.
  mkdir -p "${venv%/*}"
  exec 9>"$venv.lock"
  python3 -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
fi
if [ ! -e "$venv/whole" ]; then
  echo "installing $name into $venv (once)" >&2
  rm -rf "$venv"
  mkdir -p "$venv"
  python3 -m venv "$venv" >&2 || { echo "python3 makes no virtual environment: install its venv module (python3-venv)" >&2; exit 1; }
  PIP_REQUIRE_VIRTUALENV=1 "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$requirements" >&2
  "$venv/bin/pip" check --disable-pip-version-check >&2 # a package that is missing is told now
  touch "$venv/whole"
fi
echo "$venv"
