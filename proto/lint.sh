#!/usr/bin/env bash
# Lints the API's definition and, given a git revision, finds what it would break
# for that revision's clients:
#
#	proto/lint.sh            # lint
#	proto/lint.sh v1.2.0     # lint, and compare with v1.2.0
set -euo pipefail
cd "$(dirname "$0")/.."
. proto/workspace.sh
workspace proto
buf lint "$workspace/cambio-protos"
buf format "$workspace/cambio-protos" --diff --exit-code
if [ $# -gt 0 ]; then
	now=$workspace
	mkdir "$workspaces/then"
	git archive "$1" proto/cambio | tar -x -C "$workspaces/then"
	workspace "$workspaces/then/proto"
	buf build "$workspace" -o "$workspaces/then.binpb"
	buf breaking "$now" --against "$workspaces/then.binpb"
fi
