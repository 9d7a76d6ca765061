package main

import (
	"strings"
	"testing"
)

// TestAuditEvents: what an operator did and what the server did are listed, newest
// first, and who looked where that is asked for.
func TestAuditEvents(t *testing.T) {
	p := startDev(t)
	run := func(line string, want int) string {
		t.Helper()
		stdout, stderr, status := p.shell(line)
		if status != want {
			t.Fatalf("%s: exit status %d, %s%s", line, status, stdout, stderr)
		}
		return stdout + stderr
	}
	run(`cambio deny add --subject k8s:cluster:agents:x --reason "INC-7: injection"`, 0)
	all := run("cambio audit events", 0)
	for _, want := range []string{"deny_added", "INC-7: injection", `{"subject":"k8s:cluster:agents:x"}`, "policy_loaded"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not among\n%s", want, all)
		}
	}
	if strings.Contains(all, "queried") || strings.Index(all, "deny_added") > strings.Index(all, "policy_loaded") {
		t.Errorf("not the newest first, or with queries:\n%s", all)
	}
	if only := run("cambio audit events --type deny_added,deny_removed --output json", 0); strings.Count(only, "\n") != 1 {
		t.Errorf("by type:\n%s", only)
	}
	if looked := run("cambio audit events --type queried --limit 1", 0); !strings.Contains(looked, "list events") || !strings.Contains(looked, "There are more than these 1") {
		t.Errorf("who looked:\n%s", looked)
	}
	if bad := run("cambio audit events --type issued", 1); !strings.Contains(bad, "type is one of deny_added") {
		t.Error(bad)
	}
	run("cambio audit events --output csv", 2)
	run("cambio audit events --limit -1", 2)
	p.stop()
}
