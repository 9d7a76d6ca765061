package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/exchange"
)

func newDeny() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deny",
		Short: "Stop exchanges in an emergency, and what was handed out",
		Example: examples(`
			# Stop a workload now
			cambio deny add --subject k8s:prod:agents:assistant --reason "INC-7: prompt injection"

			# What is stopped
			cambio deny list`),
	}
	cmd.AddCommand(newDenyAdd(), newDenyList(), newDenyRemove())
	return cmd
}

// denyRow is what people see of a deny.
type denyRow struct {
	Deny    string            `json:"deny"`
	Match   map[string]string `json:"match"`
	Reason  string            `json:"reason"`
	Created string            `json:"create_time"`
	Expires string            `json:"expire_time"`
	Removed string            `json:"remove_time"`
}

func (d denyRow) what() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(d.Match)) {
		parts = append(parts, name+"="+d.Match[name])
	}
	return strings.Join(parts, " ")
}

func newDenyAdd() *cobra.Command {
	r := reach{operator: true}
	var reason, expires, requestID, output string
	match := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "add (--subject S | --actor A | --trust T | --target T | --rule R | --credential F | --lineage L)... --reason TEXT",
		Short: "Stop what matches, on every replica, and revoke what is out",
		Long: `Stop what matches: when this returns, no replica issues anything that the deny
covers. What is out already and can be revoked is revoked; of each credential this
says whether it is dead now, dead here only, dies by itself, or could not be stopped
and why.
Values are exact. Several must all hold. It takes the role operator.

Exit status 1 with a list means: the deny is in force, and something that could be
revoked was not. The same command with --request-id tries those again.`,
		Example: examples(`
			# Stop a workload
			cambio deny add --subject k8s:prod:agents:assistant --reason "INC-7: prompt injection"

			# Stop what it got at one target, for two hours
			cambio deny add --subject k8s:prod:agents:assistant --target github-mcp --reason INC-7 --expires 2h

			# Stop a credential that leaked, known by its fingerprint in the ledger
			cambio deny add --reason "in a public log" \
			  --credential 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

			# Stop a token of ours and all that was obtained with it
			cambio deny add --lineage 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81 --reason INC-7`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usage("--output is table or json, not %q", output)
			}
			asked := map[string]any{"reason": reason}
			named := map[string]string{}
			for name, value := range match {
				if cmd.Flags().Changed(name) {
					named[name] = *value
				}
			}
			switch {
			case len(named) == 0:
				return usage("say what to stop: --subject, --actor, --trust, --target, --rule, --credential or --lineage")
			case strings.TrimSpace(reason) == "":
				return usage("say why with --reason: it stands in the ledger")
			}
			if err := checkMatch(named); err != nil {
				return err
			}
			asked["match"] = named
			if expires != "" {
				end, err := momentAfter(expires, time.Now())
				if err != nil {
					return err
				}
				asked["expire_time"] = end.UTC().Format(time.RFC3339Nano)
			}
			if requestID == "" { // so that what is asked again, to go on, is one deny
				id, err := exchange.NewID(time.Now(), rand.Reader)
				if err != nil {
					return err
				}
				requestID = id.String()
			} else if _, err := exchange.ParseID(requestID); err != nil {
				return usage("--request-id: %w", err)
			}
			asked["request_id"] = requestID
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			return addDeny(cmd, s, asked, requestID, output)
		},
	}
	f := cmd.Flags()
	for _, m := range []struct{ name, what string }{
		{"subject", "whose exchanges, by the canonical name"},
		{"actor", "those that this actor takes part in"},
		{"trust", "those with a token of this trust"},
		{"target", "those for this target"},
		{"rule", "those that this rule allows"},
		{"credential", "this one credential, by its fingerprint in the ledger"},
		{"lineage", "this one lease, and what is obtained with its credential"},
	} {
		match[m.name] = f.String(m.name, "", m.what)
	}
	f.StringVar(&reason, "reason", "", "why, in one line")
	f.StringVar(&expires, "expires", "", "when it ends by itself: a duration such as 2h, or a moment in RFC 3339; empty: when it is removed")
	f.StringVar(&requestID, "request-id", "", "id of a deny to try again: a UUID of version 7; empty: a new one")
	f.StringVar(&output, "output", "table", "table, or json for one object a line: the deny, then the credentials")
	addReach(cmd, &r, true)
	return cmd
}

// checkMatch refuses what nothing can match: a typing error must not look like a stop.
func checkMatch(named map[string]string) error {
	if name, ok := named["subject"]; ok && !strings.Contains(name, ":") { // an actor that an issuer asserts has any name
		return usage("--subject %q is no canonical name, such as k8s:<trust>:<namespace>:<service account> or oidc:<trust>:<sub>: copy it from cambio audit list", name)
	}
	if c, ok := named["credential"]; ok && !fingerprint.MatchString(c) {
		return usage("--credential takes 64 hexadecimal digits: cambio audit who-used finds those of a credential")
	}
	return nil
}

// momentAfter reads a duration from now, or a moment.
func momentAfter(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		if d <= 0 {
			return time.Time{}, usage("--expires is a duration to come, such as 2h")
		}
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usage("--expires is a duration such as 2h, or a moment such as 2026-11-21T15:04:05Z")
	}
	return t, nil
}

// addDeny adds a deny and goes on until every credential has been looked at.
func addDeny(cmd *cobra.Command, s *remote, asked map[string]any, requestID, output string) error {
	var fates fateTable
	token := ""
	for page := 0; page == 0 || token != ""; page++ {
		if token != "" {
			asked["page_token"] = token
		}
		a, err := s.post(cmd.Context(), "/v1/denies", asked)
		if err == nil && a.status != http.StatusOK {
			err = s.refused(a)
		}
		if err != nil {
			if page > 0 || statusOf(err, io.Discard) == statusUnreachable {
				return fmt.Errorf("%w (to go on, or to be sure, repeat this with --request-id %s)", err, requestID)
			}
			return err
		}
		var got struct {
			Deny        json.RawMessage   `json:"deny"`
			Credentials []json.RawMessage `json:"credentials"`
			Next        string            `json:"next_page_token"`
		}
		if err := json.Unmarshal(a.body, &got); err != nil {
			return fmt.Errorf("reading the answer of %s: %w", s.base, err)
		}
		if page == 0 {
			if err := sayDeny(cmd, got.Deny, output); err != nil {
				return err
			}
		}
		if _, err := fates.add(cmd.OutOrStdout(), got.Credentials, output, ""); err != nil {
			return fmt.Errorf("reading the answer of %s: %w", s.base, err)
		}
		token = got.Next
	}
	if err := fates.print(cmd, output, "No credential that it covers is outstanding."); err != nil {
		return err
	}
	if fates.left > 0 {
		return fmt.Errorf("the deny is in force, and %d of the outstanding credentials could not be revoked: repeat this with --request-id %s", fates.left, requestID)
	}
	return nil
}

func sayDeny(cmd *cobra.Command, raw json.RawMessage, output string) error {
	if output == "json" {
		return printLine(cmd.OutOrStdout(), raw)
	}
	var d denyRow
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("reading the deny: %w", err)
	}
	until := "until it is removed"
	if d.Expires != "" {
		until = "until " + d.Expires
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "Deny %s is in force %s: %s\n", clean(d.Deny), clean(until), clean(d.what()))
	return err
}

func newDenyList() *cobra.Command {
	r := reach{operator: true}
	var output string
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the denies that are in force",
		Long:  `List the denies that are in force, newest first. It takes the role auditor or operator.`,
		Example: examples(`
			# What is stopped
			cambio deny list

			# What was ever stopped, for a program
			cambio deny list --all --output json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usage("--output is table or json, not %q", output)
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			return listDenies(cmd, s, all, output)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "the removed and the expired too")
	cmd.Flags().StringVar(&output, "output", "table", "table, or json for one object a line")
	addReach(cmd, &r, true)
	return cmd
}

func listDenies(cmd *cobra.Command, s *remote, all bool, output string) error {
	var rows [][]string
	for token, page := "", 0; page == 0 || token != ""; page++ {
		query := url.Values{"page_size": {strconv.Itoa(auditPage)}}
		if all {
			query.Set("show_removed", "true")
		}
		if token != "" {
			query.Set("page_token", token)
		}
		a, err := s.ask(cmd.Context(), http.MethodGet, "/v1/denies", query, nil)
		if err != nil {
			return err
		}
		if a.status != http.StatusOK {
			return s.refused(a)
		}
		var got struct {
			Denies []json.RawMessage `json:"denies"`
			Next   string            `json:"next_page_token"`
		}
		if err := json.Unmarshal(a.body, &got); err != nil {
			return fmt.Errorf("reading the list of %s: %w", s.base, err)
		}
		for _, one := range got.Denies {
			if output == "json" {
				if err := printLine(cmd.OutOrStdout(), one); err != nil {
					return err
				}
				continue
			}
			var d denyRow
			if err := json.Unmarshal(one, &d); err != nil {
				return fmt.Errorf("reading the list of %s: %w", s.base, err)
			}
			rows = append(rows, []string{d.Created, d.what(), d.Reason, d.Expires, d.Removed, d.Deny})
		}
		token = got.Next
	}
	if output == "json" {
		return nil
	}
	return table(cmd.OutOrStdout(), []string{"ADDED", "MATCHES", "REASON", "EXPIRES", "REMOVED", "DENY"}, rows)
}

func newDenyRemove() *cobra.Command {
	r := reach{operator: true}
	cmd := &cobra.Command{
		Use:   "remove DENY",
		Short: "End a deny",
		Long:  `End a deny. What it revoked stays revoked. It takes the role operator.`,
		Example: examples(`
			# End a deny whose id cambio deny list gave
			cambio deny remove 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := exchange.ParseID(args[0]); err != nil {
				return usage("%q names no deny: %w", args[0], err)
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			a, err := s.ask(cmd.Context(), http.MethodDelete, "/v1/denies/"+args[0], nil, nil)
			if err != nil {
				return err
			}
			if a.status != http.StatusOK {
				return s.refused(a)
			}
			return nil
		},
	}
	addReach(cmd, &r, true)
	return cmd
}
