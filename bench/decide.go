package main

import (
	"context"
	"fmt"
	"testing/fstest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider/all"
)

// decide times deciding alone, in this process, over policies of three sizes.
func decide(ctx context.Context) ([]figure, error) {
	var figures []figure
	for _, n := range []int{10, 1000, 10_000} {
		fsys := fstest.MapFS{"bench.yaml": {Data: []byte(policyText("cluster-jwks.json", n))}}
		revision, err := policy.Load(fsys, policy.Options{Tenant: "default", Providers: all.Registry()})
		if err != nil {
			return nil, fmt.Errorf("compiling %d rules: %w", n, err)
		}
		subject, err := policy.Describe(revision, "k8s:prod:llm:gateway-0001", nil)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		subject.Expires = now.Add(time.Hour)
		q := exchange.Question{Tenant: "default", Subject: subject, Audiences: []string{"bench"}, Scopes: []string{"tools.read"}, Now: now}
		const times = 200_000
		begun := time.Now()
		for range times {
			if d := revision.Decide(q); !d.Allowed {
				return nil, fmt.Errorf("deciding over %d rules: refused: %s", n, d.Explanation)
			}
		}
		figures = append(figures, figure{
			fmt.Sprintf("decide_ns_%d", n), float64(time.Since(begun).Nanoseconds()) / times, "ns",
			fmt.Sprintf("deciding over %d rules; goal under 50,000 at 10,000", n),
		})
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return figures, nil
}
