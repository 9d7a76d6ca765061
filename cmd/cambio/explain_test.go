package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestExplainLooksAtEmergencyDenies: the folder alone says that they were not looked
// at; beside a server they turn the answer, each with its reason, and only those
// that hold.
func TestExplainLooksAtEmergencyDenies(t *testing.T) {
	p := startDev(t)
	const explain = "cambio policy explain --policy cambio-dev/policy --subject k8s:cluster:agents:assistant --target github-mcp "
	ask := func(more string) (e struct {
		Allowed bool     `json:"allowed"`
		Refusal string   `json:"refusal"`
		Reasons []string `json:"reasons"`
		Denies  struct {
			Seen bool      `json:"looked_at"`
			Hold []denyRow `json:"holding"`
		} `json:"emergency_denies"`
	}, status int) {
		t.Helper()
		stdout, stderr, status := p.shell(explain + "--output json " + more)
		if err := json.Unmarshal([]byte(stdout), &e); err != nil {
			t.Fatalf("%v: %s%s", err, stdout, stderr)
		}
		return e, status
	}
	for _, add := range []string{
		`--subject k8s:cluster:agents:assistant --reason "INC-7: injection"`, `--rule nothing-like-it --reason INC-8`,
		`--target github-mcp --subject k8s:cluster:agents:other --reason INC-9`,
	} {
		if _, stderr, status := p.shell("cambio deny add " + add); status != 0 {
			t.Fatal(stderr)
		}
	}
	if e, status := ask(""); status != 0 || !e.Allowed || e.Denies.Seen || len(e.Denies.Hold) != 0 {
		t.Errorf("the folder alone: exit status %d, %+v", status, e)
	}
	e, status := ask("--data cambio-dev")
	if status != 1 || e.Allowed || e.Refusal != "invalid_target" || !e.Denies.Seen || len(e.Denies.Hold) != 1 ||
		e.Denies.Hold[0].Reason != "INC-7: injection" || !strings.Contains(e.Reasons[0], "subject=k8s:cluster:agents:assistant") {
		t.Errorf("beside a server: exit status %d, %+v", status, e)
	}
	for more, want := range map[string]string{
		"": "emergency denies  not looked at", "--data cambio-dev": "emergency denies  1 of 3 in force stop this",
		"--url " + p.ready.URL + " --token-file cambio-dev/tokens/auditor.jwt": "1 of 3 in force",
		"--data cambio-dev --at 2020-01-01T00:00:00Z":                          "1 of 3 in force",
		"--data nowhere": "no cambio dev runs from nowhere",
		"--url " + p.ready.URL + " --token-file cambio-dev/policy/policy.yaml": "",
	} {
		stdout, stderr, status := p.shell(explain + more)
		if !strings.Contains(stdout+stderr, want) || (status == 0) != (more == "") {
			t.Errorf("%s: exit status %d, %s%s", more, status, stdout, stderr)
		}
	}
	p.stop()
}
