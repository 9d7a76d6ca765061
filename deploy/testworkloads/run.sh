#!/usr/bin/env bash
# Runs workloads as people write them, with the clients of Cambio and with the vendors'
# own, against a running cambio dev and the stand-ins that it plays: clients/python by its
# adapters and by each block of its README, and the agent of clients/go. The Python
# packages come from the package index at the versions of the three requirements files,
# and the SDKs for Go from the module proxy at those of gosdks/go.mod and oldest.mod, once;
# after that nothing leaves this machine. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")"
newest=$(../test/venv.sh testworkloads requirements.txt)
oldest=$(../test/venv.sh testworkloads-oldest requirements-oldest.txt)
litellm=$(../test/venv.sh testworkloads-litellm requirements-litellm.txt)
../../exchange/provider/vault/baotest/install.sh >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

log=../../.cache/test-workloads.log
mkdir -p ../../.cache
status=0
WORKLOADS_WORK=$work WORKLOADS_NEWEST=$newest/bin/python WORKLOADS_OLDEST=$oldest/bin/python WORKLOADS_LITELLM=$litellm/bin/python \
  "$newest/bin/python" -B -m pytest -p no:cacheprovider -q --durations=10 --tb=short "$@" 2>&1 | tee "$log" || status=$?
# What the programs wrote, and what was not shown since a test passed, is searched, too.
find "$work/logs" -type f -name '*.log' -exec cat {} + >>"$log"
../test/secrets.sh "$log" || status=1
exit "$status"
