#!/usr/bin/env bash
# Regenerates everything that is generated: protobuf and gateway code, OpenAPI,
# typed SQL, the policy's JSON Schema, the table of configuration keys. All of it is
# committed; CI runs this and looks for a difference.
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "generating protobuf, gateway and OpenAPI"
proto/generate.sh
for engine in postgres sqlite; do
  echo "generating typed SQL for $engine"
  go tool -modfile=store/tools.mod sqlc generate -f "store/$engine/sqlc.yaml"
done
echo "generating docs/policy.schema.json"
go run ./cmd/cambio policy schema >docs/policy.schema.json.new
mv docs/policy.schema.json.new docs/policy.schema.json
echo "generating docs/configuration.md"
go run ./cmd/cambio/config/reference >docs/configuration.md.new
mv docs/configuration.md.new docs/configuration.md
