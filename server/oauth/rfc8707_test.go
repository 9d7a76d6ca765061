package oauth_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestRFC8707Section2ResourceIsAnAbsoluteURIWithoutFragment(t *testing.T) {
	for name, resource := range map[string]string{
		"a name": "github-mcp", "a path": "/mcp/github", "no scheme": "//mcp.example/github", "scheme alone": "https:",
		"no host": "https:///github", "a fragment": "https://mcp.example/github#a", "an empty fragment": "https://mcp.example/github#",
		"a space": "https://mcp.example/git hub", "an accent": "https://mcp.example/é", "too long": "https://mcp.example/" + strings.Repeat("a", 2048),
		"a bad scheme": "1https://mcp.example", "a bad escape": "https://mcp.example/%zz", "a bad port": "https://mcp.example:port/",
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t)
			d.ask("audience", "", "resource", resource).wantFailure(t, http.StatusBadRequest, "invalid_target")
			d.bureau.none()
		})
	}
	for _, resource := range []string{
		"https://mcp.example/github", "https://mcp.example", "https://mcp.example/?a=b&c=d", "urn:example:mcp", "HTTPS://MCP.example/", "https://[::1]:8443/mcp", "api://app-id",
	} {
		d := openDoor(t)
		d.ask("audience", "", "resource", resource).wantIssued(t)
		if r := d.bureau.only(); len(r.Resources) != 1 || r.Resources[0] != resource { // to the letter: targets are matched exactly
			t.Errorf("%q became %q", resource, r.Resources)
		}
	}
}

func TestRFC8707Section2TooManyTargets(t *testing.T) {
	var resources, audiences []string
	for range 9 {
		resources = append(resources, "resource", "https://mcp.example/a")
		audiences = append(audiences, "audience", "a")
	}
	d := openDoor(t)
	d.ask(resources...).wantFailure(t, http.StatusBadRequest, "invalid_target")
	d.ask(audiences...).wantFailure(t, http.StatusBadRequest, "invalid_target")
	d.ask("audience", strings.Repeat("a", 257)).wantFailure(t, http.StatusBadRequest, "invalid_target")
	d.bureau.none()
}
