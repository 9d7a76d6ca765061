#!/usr/bin/env bash
# Runs each fuzz target for the time given (default 5s), one after the other.
#
# Up to Go 1.26 the end of -fuzztime races with the workers' own end, and a target that
# found nothing is then failed with the bare words "context deadline exceeded"
# (golang/go#75804). Such an end says nothing of the code, so that target runs again;
# every other failure, and a third end of that kind, counts.
set -euo pipefail
cd "$(dirname "$0")/../.."
time=${1:-5s}
count=0
failed=()
for_nothing() {
  [ "$(grep -A1 '^--- FAIL: ' <<<"$1" | sed -n '2s/^ *//p')" = "context deadline exceeded" ] &&
    ! grep -q 'Failing input written to' <<<"$1"
}
while IFS=: read -r file name; do
  folder=$(dirname "$file")
  printf 'fuzz %-48s %s\n' "$name" "./$folder"
  for attempt in 1 2 3; do
    if out=$(cd "$folder" && go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" . 2>&1); then
      count=$((count + 1))
      break
    fi
    if [ "$attempt" -lt 3 ] && for_nothing "$out"; then
      printf 'fuzz %-48s again, its time ran out between two workers (golang/go#75804)\n' "$name"
      continue
    fi
    echo "$out"
    failed+=("$name ./$folder")
    break
  done
done < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's/^\.\///; s/func //' | sort)
if [ "$count" -eq 0 ]; then
  echo "no fuzz target has passed"
  exit 1
fi
[ ${#failed[@]} -eq 0 ] || printf 'failed: %s\n' "${failed[@]}"
echo "$count passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
