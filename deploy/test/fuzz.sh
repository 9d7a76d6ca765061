#!/usr/bin/env bash
# Runs each fuzz target for the time given (default 5s), one after the other.
set -euo pipefail
cd "$(dirname "$0")/../.."
time=${1:-5s}
count=0
while IFS=: read -r file name; do
  folder=$(dirname "$file")
  printf 'fuzz %-48s %s\n' "$name" "./$folder"
  if ! out=$(cd "$folder" && go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" . 2>&1); then
    echo "$out"
    exit 1
  fi
  count=$((count + 1))
done < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's/^\.\///; s/func //' | sort)
if [ "$count" -eq 0 ]; then
  echo "no fuzz targets were found"
  exit 1
fi
echo "$count passed, 0 failed"
