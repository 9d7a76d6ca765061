# Sourced by the scripts beside it. workspace TREE makes a buf workspace of the
# protos under TREE, with the one import from outside (google/api/annotations)
# taken from a module that tools.mod pins, and sets $workspace. It is removed at
# exit.

buf() { go tool -modfile=proto/tools.mod buf "$@"; }

workspaces=$(mktemp -d)
trap 'rm -rf "$workspaces"' EXIT

workspace() {
	local googleapis
	go mod download -modfile=proto/tools.mod github.com/grpc-ecosystem/grpc-gateway
	googleapis=$(go list -modfile=proto/tools.mod -m -f '{{.Dir}}' github.com/grpc-ecosystem/grpc-gateway)/third_party/googleapis
	workspace=$(mktemp -d -p "$workspaces")
	mkdir -p "$workspace/cambio-protos" "$workspace/googleapis/google/api"
	cp -r "$1/cambio" "$workspace/cambio-protos/"
	cp "$googleapis"/google/api/{annotations,http}.proto "$workspace/googleapis/google/api/"
	chmod -R u+w "$workspace"
	sed 's/^  - path: \.$/  - path: cambio-protos\n  - path: googleapis/' proto/buf.yaml >"$workspace/buf.yaml"
}
