package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

// explained is what explain says: what the folder does, and what a server's
// emergency denies make of it.
type explained struct {
	policy.Explanation
	Denies emergency `json:"emergency_denies"`
}

// emergency says which emergency denies stop a request. They live in a server's
// database and not in the policy folder, so that they are seen only where a server
// is named.
type emergency struct {
	Seen bool      `json:"looked_at"`
	Hold []denyRow `json:"holding,omitempty"`
	of   int
}

// fact is the line for people.
func (e emergency) fact() string {
	switch {
	case !e.Seen:
		return "not looked at: name a server with --url, or a cambio dev with --data"
	case len(e.Hold) > 0:
		return fmt.Sprintf("%d of %d in force stop this", len(e.Hold), e.of)
	}
	return fmt.Sprintf("none of %d in force stops this", e.of)
}

// asksServer reports that a server was named.
func (f *explainFlags) asksServer(cmd *cobra.Command) bool {
	return f.server.url != "" || cmd.Flags().Changed("data")
}

// lookAtDenies asks the server that was named, if one was, and lets what stops the
// request turn the answer.
func (f *explainFlags) lookAtDenies(cmd *cobra.Command, l *loaded, q exchange.Question, e *explained) error {
	if !f.asksServer(cmd) {
		return nil
	}
	s, err := f.server.find(cmd, true)
	if err != nil {
		return err
	}
	list, err := s.deniesInForce(cmd, q.Tenant)
	if err != nil {
		return err
	}
	e.Denies = emergency{Seen: true, of: len(list)}
	for _, d := range l.revision.StoppedBy(q, list) {
		row := denyRow{Deny: d.ID.String(), Match: d.Match, Reason: d.Reason}
		if !d.Expires.IsZero() {
			row.Expires = exchange.FormatTime(d.Expires)
		}
		e.Denies.Hold = append(e.Denies.Hold, row)
		e.Reasons = append([]string{fmt.Sprintf("emergency deny %s stops it (%s): %s", row.Deny, row.what(), row.Reason)}, e.Reasons...)
	}
	if e.Allowed && len(e.Denies.Hold) > 0 {
		e.Allowed, e.Rule, e.Refusal = false, "", exchange.KindInvalidTarget.String()
	}
	return nil
}

// deniesInForce lists a server's emergency denies, all pages of them.
func (s *remote) deniesInForce(cmd *cobra.Command, tenant string) ([]exchange.Deny, error) {
	var list []exchange.Deny
	for token := ""; ; {
		a, err := s.ask(cmd.Context(), http.MethodGet, "/v1/denies", url.Values{"page_size": {"1000"}, "page_token": {token}}, nil)
		if err != nil {
			return nil, err
		}
		if a.status != http.StatusOK {
			return nil, s.refused(a)
		}
		var page struct {
			Denies []denyRow `json:"denies"`
			Next   string    `json:"next_page_token"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return nil, fmt.Errorf("reading the denies of %s: %w", s.base, err)
		}
		for _, row := range page.Denies {
			d := exchange.Deny{Tenant: tenant, Match: row.Match, Reason: row.Reason}
			if d.ID, err = exchange.ParseID(row.Deny); err != nil {
				return nil, fmt.Errorf("reading the denies of %s: %w", s.base, err)
			}
			if row.Expires != "" {
				if d.Expires, err = time.Parse(time.RFC3339Nano, row.Expires); err != nil {
					return nil, fmt.Errorf("reading the denies of %s: %w", s.base, err)
				}
			}
			list = append(list, d)
		}
		if page.Next == "" || page.Next == token {
			return list, nil
		}
		token = page.Next
	}
}
