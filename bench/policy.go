package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writePolicy makes a policy of n allow rules, of which the one in the middle is
// the one that matches the benchmark's service accounts.
func writePolicy(dir, jwks string, n int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "bench.yaml"), []byte(policyText(jwks, n)), 0o644)
}

func policyText(jwks string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `trusts:
  prod: {kubernetes: {issuer: %s, audiences: [cambio], clientless: true, keys: {file: %s}}}
targets:
  bench: {mcp: {resource: https://mcp.example/bench, scopes: [tools.read, tools.call]}}
  other: {mcp: {resource: https://mcp.example/other, scopes: [tools.read]}}
allow:
`, clusterIssuer, jwks)
	for i := range n {
		if i == n/2 {
			fmt.Fprintf(&b, "  - {name: rule-%05d, subjects: [{trust: prod, namespace: llm, service_account: \"gateway-*\"}], targets: [bench], scopes: [tools.read], max_ttl: 1h}\n", i)
			continue
		}
		fmt.Fprintf(&b, "  - {name: rule-%05d, subjects: [{trust: prod, namespace: team-%05d, service_account: worker-%d}], targets: [other], max_ttl: 1h}\n", i, i, i%7)
	}
	return b.String()
}
