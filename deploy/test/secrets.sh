#!/usr/bin/env bash
# Looks through a log for secrets, and fails if it finds one: signed tokens
# (anything that looks like a compact JWS with a real signature), private keys,
# and the values that test drivers vend, which all begin with a marked word.
# Prints where, never what.
set -euo pipefail
log=$1
patterns=(
  'eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{40,}'
  '-----BEGIN [A-Z ]*PRIVATE KEY-----'
  '"d":"[A-Za-z0-9_-]{40,}"'
  'vended-secret-[A-Za-z0-9]'
)
found=0
for p in "${patterns[@]}"; do
  while IFS=: read -r line _; do
    echo "secret in the log, line $line (pattern $p)"
    found=1
  done < <(grep -nEo -e "$p" "$log" | cut -d: -f1 | sort -un | head -20 | sed 's/$/:/')
done
lines=$(wc -l <"$log")
if [ "$lines" -lt 10 ]; then
  echo "only $lines lines were searched for secrets: the log is not the run's"
  exit 1
fi
[ "$found" -eq 0 ] && echo "searched $lines lines for secrets: none"
exit "$found"
