#!/usr/bin/env bash
# Makes the generated code of this folder anew. Running it twice changes nothing.
# It needs Go and, the first time, the modules that tools.mod pins.
set -euo pipefail
cd "$(dirname "$0")/.."
. proto/workspace.sh
workspace proto
buf generate "$workspace" --template proto/buf.gen.yaml --path "$workspace/cambio-protos/cambio"
mv proto/cambio/v1/openapi.swagger.json proto/cambio/v1/openapi.json
