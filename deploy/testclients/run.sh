#!/usr/bin/env bash
# Lets the vendors' own clients, in Python and Go, use what Cambio vends, against the
# providers' stand-ins, and judge the stand-ins by themselves. The Python clients come
# from the package index at the versions of requirements.txt, the Go clients at those
# of goclients/go.mod; after that nothing leaves this machine. CLIENTS_WRITE=1 writes
# docs/clients.md anew.
set -euo pipefail
cd "$(dirname "$0")"
venv=$(../test/venv.sh testclients requirements.txt)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd ../.. && go build -o "$work/cambio" ./cmd/cambio)
(cd goclients && go build -o "$work/goclients" .)

log=../../.cache/test-clients.log
mkdir -p ../../.cache
status=0
"$venv/bin/python" -B -m judges "$work/cambio" "$work/goclients" ../../docs/clients.md 2>&1 | tee "$log" || status=$?
../test/secrets.sh "$log" || status=1
exit "$status"
