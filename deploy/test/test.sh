#!/usr/bin/env bash
# Runs the Go tests given (default: all) of MODULE (default: the server's) with the race
# detector, keeps the whole log, and fails on a failure, on a skip, and on a secret in
# the log.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p .cache
module=${MODULE:-.}
log=$PWD/.cache/test.log
[ "$module" = . ] || log=$PWD/.cache/test-${module//\//-}.log
status=0
(cd "$module" && go test -race -v -p 2 -timeout 9m "${@:-./...}") >"$log" 2>&1 || status=$?

# What a person wants to see: each package's line, and whatever failed.
grep -E '^(ok|FAIL|panic:|\?)[[:space:]]' "$log" | grep -v 'no test files' || true
if [ "$status" -ne 0 ]; then
  echo "--- what failed (whole log: $log)"
  awk -f deploy/test/failures.awk "$log"
fi

passed=$(grep -cE '^[[:space:]]*--- PASS' "$log" || true)
failed=$(grep -cE '^[[:space:]]*--- FAIL' "$log" || true)
skipped=$(grep -cE '^[[:space:]]*--- SKIP' "$log" || true)
if [ "$skipped" -ne 0 ]; then
  echo "skipped tests prove nothing:"
  grep -E '^[[:space:]]*--- SKIP' "$log"
  status=1
fi
deploy/test/secrets.sh "$log" || status=1
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
