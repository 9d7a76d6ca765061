//go:build mcp

package testmcp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"testing"
)

// The SDKs and the transports that each speaks.
var (
	sdks       = []string{"python", "go"}
	transports = []string{"streamable", "sse"}
)

// command is a program of an SDK: server, client, provider or metadata.
func command(t *testing.T, sdk, program string, args ...string) *exec.Cmd {
	t.Helper()
	if sdk == "go" {
		return exec.Command(tool(t, "MCP_GOSDK"), append([]string{program}, args...)...)
	}
	return exec.Command(tool(t, "MCP_PYTHON"), append([]string{"-B", filepath.Join("pysdk", program+".py")}, args...)...)
}

// resource is an MCP server of one SDK over one transport.
type resource struct{ sdk, transport, name, url string }

// reserve names the servers before they run: policy must know their resources.
func reserve(t *testing.T) []resource {
	t.Helper()
	var all []resource
	for _, sdk := range sdks {
		for _, transport := range transports {
			path := map[string]string{"streamable": "/mcp", "sse": "/sse"}[transport]
			all = append(all, resource{sdk: sdk, transport: transport, name: sdk + "-" + transport, url: "http://" + freeAddress(t) + path})
		}
	}
	return all
}

func (r resource) start(t *testing.T, issuer string) {
	t.Helper()
	var log bytes.Buffer
	cmd := command(t, r.sdk, "server", r.transport, r.url, issuer)
	cmd.Stdout, cmd.Stderr = &log, &log
	t.Cleanup(func() { // runs after the process has been waited for
		if t.Failed() {
			t.Logf("the log of %s:\n%s", r.name, tail(log.String(), 20))
		}
	})
	run(t, cmd)
	at, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	at.Path = "/.well-known/oauth-protected-resource" + at.Path
	eventually(t, r.name+" listens", func() bool {
		response, err := http.Get(at.String())
		if err != nil {
			return false
		}
		defer func() { _ = response.Body.Close() }()
		var about struct {
			Resource string   `json:"resource"`
			Servers  []string `json:"authorization_servers"`
		}
		return json.NewDecoder(response.Body).Decode(&about) == nil && about.Resource == r.url && len(about.Servers) == 1
	})
}

// principal is whom a server takes a caller for.
type principal struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
	Audience string `json:"aud"`
	Actor    *struct {
		Subject string `json:"sub"`
	} `json:"act"`
}

// reply is what came of an order to a client, and its last refusal on the wire.
type reply struct {
	Result    json.RawMessage `json:"result"`
	Error     string          `json:"error"`
	Status    int             `json:"status"`
	Challenge string          `json:"challenge"`
}

// client is a client of an SDK that does what it is told.
type client struct {
	*testing.T
	in  io.Writer
	out *bufio.Scanner
}

func startClient(t *testing.T, sdk string, r resource) *client {
	t.Helper()
	cmd := command(t, sdk, "client", r.transport, r.url)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	run(t, cmd)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	return &client{T: t, in: in, out: lines}
}

// do gives an order, with a token to send from now on unless it is empty.
func (c *client) do(what, token string) reply {
	c.Helper()
	order := map[string]string{"do": what}
	if token != "" {
		order["token"] = token
	}
	if err := json.NewEncoder(c.in).Encode(order); err != nil {
		c.Fatal(err)
	}
	if !c.out.Scan() {
		c.Fatalf("%s: the client has ended: %v", what, c.out.Err())
	}
	var r reply
	if err := json.Unmarshal(c.out.Bytes(), &r); err != nil {
		c.Fatal(err)
	}
	return r
}

// must is do, for what has to be done.
func (c *client) must(what, token string) json.RawMessage {
	c.Helper()
	r := c.do(what, token)
	if r.Error != "" || r.Status != 0 {
		c.Fatalf("%s: %s, after %d %s", what, r.Error, r.Status, r.Challenge)
	}
	return r.Result
}

// call is whom the server takes the client for.
func (c *client) call(token string) principal {
	c.Helper()
	var p principal
	if err := json.Unmarshal(c.must("call", token), &p); err != nil {
		c.Fatal(err)
	}
	return p
}
