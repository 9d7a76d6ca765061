#!/usr/bin/env bash
# Formatting, vet, staticcheck, the protobuf linter, shell syntax, and words that
# the repository never holds. Prints each step; fails at the end if any failed.
set -uo pipefail
cd "$(dirname "$0")/../.."
failed=0
step() {
  local name=$1 out
  shift
  if out=$("$@" 2>&1); then
    printf 'lint %-16s ok\n' "$name"
  else
    printf 'lint %-16s FAILED\n%s\n' "$name" "$out"
    failed=1
  fi
}

formatted() {
  local bad
  bad=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
  [ -z "$bad" ] || { echo "run gofmt -w on: $bad"; return 1; }
}
shells() { git ls-files -co --exclude-standard '*.sh' .ci/run | xargs -n1 bash -n; }
tidy() { go mod verify >/dev/null && go mod tidy -diff; }
clients() { cd deploy/testclients/goclients && go vet . && go mod tidy -diff; }
workloads() {
  cd deploy/testworkloads/gosdks || return
  local mod
  for mod in go.mod oldest.mod; do
    go vet -modfile=$mod . && go mod tidy -modfile=$mod -diff || return
  done
}
client_module() { cd clients/go && go vet ./... && go mod verify >/dev/null && go mod tidy -diff; }
client_static() { cd clients/go && go tool -modfile=../../deploy/test/tools.mod staticcheck ./...; }
mcp() { go vet -tags mcp ./deploy/testmcp/ && cd deploy/testmcp/gosdk && go vet . && go mod tidy -diff; }
words() {
  # Machine paths and unfinished marks.
  ! git grep -nIE '(/wor[k]/|/roo[t]/|TOD[O]|FIXM[E]|XX[X])' -- . ':!*.sum' ':!*package-lock.json'
}
rules() {
  # Each rule of docs/security.md that is not for later has a test that carries its number.
  local n missing=
  for n in $(grep -E '^- \*\*S[0-9]' docs/security.md | grep -v '\*\* Later:' | grep -oE '^- \*\*[^*]*' | grep -oE '[0-9]+'); do
    git grep -qE "func TestS${n}[A-Z]" -- '*_test.go' || missing+=" S$n"
  done
  [ -z "$missing" ] || { echo "rules without a test:$missing"; return 1; }
}
skips() { ! git grep -nE '\bt\.Skip|\bb\.Skip' -- '*_test.go'; }

step gofmt formatted
step vet go vet ./...
step vet-cluster go vet -tags cluster ./deploy/testcluster/
step vet-slow go vet -tags slow ./deploy/testproperties/
step vet-clients clients
step vet-workloads workloads
step clients-go client_module
step clients-static client_static
step vet-mcp mcp
step staticcheck go tool -modfile=deploy/test/tools.mod staticcheck ./...
step buf proto/lint.sh
step go.mod tidy
step shell shells
step words words
step rules rules
step skips skips
exit "$failed"
