package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/exchange"
)

func newLease() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lease",
		Short: "See credentials that are out, renew them, take them back",
		Example: examples(`
			# What is out, and for how long yet
			cambio lease list

			# Take one back, and everything that was obtained with it
			cambio lease revoke 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81 --reason "INC-7: lost laptop"`),
	}
	cmd.AddCommand(newLeaseList(), newLeaseShow(), newLeaseRenew(), newLeaseRevoke())
	return cmd
}

// leaseRow is what people see of a lease.
type leaseRow struct {
	Lease        string   `json:"lease"`
	State        string   `json:"state"`
	Exchange     string   `json:"exchange"`
	Subject      string   `json:"subject"`
	Actor        string   `json:"actor"`
	Target       string   `json:"target"`
	Provider     string   `json:"provider"`
	Rule         string   `json:"rule"`
	Handle       string   `json:"handle"`
	Issued       string   `json:"issue_time"`
	Expires      string   `json:"expire_time"`
	Revoked      string   `json:"revoke_time"`
	Lineage      []string `json:"lineage"`
	Renewable    bool     `json:"renewable"`
	Latest       string   `json:"latest_expire_time"`
	NotRenewable string   `json:"not_renewable"`
	Revocation   string   `json:"revocation"`
	Credential   string   `json:"credential"`
	Scopes       []string `json:"scopes"`
}

// life says in a few words whether a credential lives, and for how long yet.
func (l leaseRow) life(now time.Time) string {
	switch l.State {
	case "STATE_REVOKED":
		return "revoked " + ago(l.Revoked, now)
	case "STATE_EXPIRED":
		return "expired " + ago(l.Expires, now)
	}
	expires, err := time.Parse(time.RFC3339, l.Expires)
	if err != nil {
		return l.Expires
	}
	return shortly(expires.Sub(now)) + " left"
}

func ago(moment string, now time.Time) string {
	t, err := time.Parse(time.RFC3339, moment)
	if err != nil {
		return moment
	}
	return shortly(now.Sub(t)) + " ago"
}

// shortly writes a duration by its two greatest units.
func shortly(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	switch h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60; {
	case h >= 48:
		return fmt.Sprintf("%dd%dh", h/24, h%24)
	case h > 0:
		return fmt.Sprintf("%dh%dm", h, m)
	case m > 0:
		return fmt.Sprintf("%dm%ds", m, s)
	default:
		return fmt.Sprintf("%ds", s)
	}
}

// revocations say what revoking would do, to people.
var revocations = map[string]string{
	"REVOCATION_PROVIDER": "the provider ends it at once",
	"REVOCATION_HERE":     "introspection and exchange here refuse it at once; a server that verifies it by itself accepts it until it expires",
	"REVOCATION_NONE":     "nothing takes it back: it works until it expires",
}

// leaseID reads the argument of a command.
func leaseID(text string) error {
	if _, err := exchange.ParseID(text); err != nil {
		return usage("%q names no lease: %w", text, err)
	}
	return nil
}

func newLeaseShow() *cobra.Command {
	r := reach{operator: true}
	var output string
	cmd := &cobra.Command{
		Use:   "show LEASE",
		Short: "Show everything about one lease",
		Long: `Show one lease: for whom the credential is, whether it lives, whether it can be
renewed and until when, and what revoking it would do. It takes the role auditor or
operator, save for what is your own.`,
		Example: examples(`
			# Show a lease whose id cambio lease list, or the ledger, gave
			cambio lease show 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "text", "json"); err != nil {
				return err
			}
			if err := leaseID(args[0]); err != nil {
				return err
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			a, err := s.ask(cmd.Context(), http.MethodGet, "/v1/leases/"+args[0], nil, nil)
			if err != nil {
				return err
			}
			return s.sayLease(cmd.OutOrStdout(), a, output)
		},
	}
	outputFlag(cmd, &output, "text")
	addReach(cmd, &r, true)
	return cmd
}

// sayLease prints the one lease of an answer.
func (s *remote) sayLease(w io.Writer, a answer, output string) error {
	if a.status != http.StatusOK {
		return s.refused(a)
	}
	var got struct {
		Lease json.RawMessage `json:"lease"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", s.base, err)
	}
	if output == "json" {
		return printLine(w, got.Lease)
	}
	var l leaseRow
	if err := json.Unmarshal(got.Lease, &l); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", s.base, err)
	}
	renewal := ""
	switch {
	case l.Renewable:
		renewal = "until " + l.Latest + " at the latest"
	case l.NotRenewable != "":
		renewal = "no: " + l.NotRenewable
	}
	revocation := ""
	if l.State == "STATE_ACTIVE" {
		revocation = revocations[l.Revocation]
	}
	for _, line := range [][2]string{
		{"Lease", l.Lease}, {"Life", l.life(time.Now())}, {"Issued", l.Issued}, {"Expires", l.Expires}, {"Revoked", l.Revoked},
		{"Subject", l.Subject}, {"Held by", l.Actor}, {"Target", l.Target}, {"Provider", l.Provider}, {"Rule", l.Rule},
		{"Scopes", strings.Join(l.Scopes, " ")}, {"Handle", l.Handle}, {"Credential", l.Credential}, {"Exchange", l.Exchange},
		{"Obtained with", strings.Join(l.Lineage, " ")}, {"Renewal", renewal}, {"Revoking", revocation},
	} {
		if line[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-15s%s\n", line[0]+":", clean(line[1])); err != nil {
			return err
		}
	}
	return nil
}

func newLeaseRenew() *cobra.Command {
	var r reach
	var lifetime time.Duration
	var reason, output string
	cmd := &cobra.Command{
		Use:   "renew LEASE",
		Short: "Let a credential live longer, where its provider can",
		Long: `Let a credential live longer without a new value. Policy decides anew, for your
token, which must be of the lease's own subject; the first maximum holds. Where it
cannot be renewed, this says why, and an exchange gives a new credential.`,
		Example: examples(`
			# Let it live for as long as a new one would
			cambio lease renew 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81 --token-file me.jwt

			# Let it live for half an hour from now
			cambio lease renew 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81 --token-file me.jwt --lifetime 30m`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "text", "json"); err != nil {
				return err
			}
			if err := leaseID(args[0]); err != nil {
				return err
			}
			if lifetime < 0 || lifetime%time.Second != 0 || lifetime > 366*24*time.Hour {
				return usage("--lifetime is in whole seconds, such as 30m")
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			a, err := s.post(cmd.Context(), "/v1/leases/"+args[0]+":renew", map[string]any{"requested_lifetime": int64(lifetime / time.Second), "reason": reason})
			if err != nil {
				return err
			}
			return s.sayLease(cmd.OutOrStdout(), a, output)
		},
	}
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "how long it is to live from now; 0: as long as a new one")
	cmd.Flags().StringVar(&reason, "reason", "", "why, in one line")
	outputFlag(cmd, &output, "text")
	addReach(cmd, &r, true)
	return cmd
}
