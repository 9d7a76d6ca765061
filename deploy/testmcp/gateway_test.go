//go:build mcp

package testmcp

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// gateway is LiteLLM's own token exchanger, pointed here: it names the server by
// audience, calls every token an access token, and tells its users what our errors
// make it tell them: 401 for unauthorized, 500 for misconfigured.
func (h *house) gateway(t *testing.T, server resource, secret string) {
	settings, err := json.Marshal(map[string]string{
		"issuer": h.URL, "client_id": "batch", "client_secret": secret, "subject": h.person(t, "alice"),
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool(t, "MCP_GATEWAY"), "-B", filepath.Join("pysdk", "gateway.py"), server.url)
	var out, problems bytes.Buffer
	cmd.Env = append(os.Environ(), "LITELLM_LOCAL_MODEL_COST_MAP=True") // it would fetch one when it starts
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(settings), &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, tail(problems.String(), 12))
	}
	var got struct {
		principal
		Cached   bool
		Refusals map[string]string
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Subject != "oidc:corp:alice" || got.ClientID != "batch" || got.Scope != "tools.read tools.call" || !got.Cached {
		t.Errorf("%+v", got)
	}
	if got.Refusals["no token"] != "unauthorized" || got.Refusals["another target"] != "misconfigured" {
		t.Errorf("its users are told %v", got.Refusals)
	}
}
