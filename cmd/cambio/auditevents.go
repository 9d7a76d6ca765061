package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

func newAuditEvents() *cobra.Command {
	var r reach
	var types, output string
	var limit int
	cmd := &cobra.Command{
		Use:   "events",
		Short: "List what is in the ledger beside exchanges, newest first",
		Long: `List what is in the ledger beside exchanges, newest first: emergency denies that
were added and removed, policy that came into force, keys that changed, and, where
they are asked for, the queries of auditors. list and tail show exchanges alone;
show has the events of each.`,
		Example: examples(`
			# What operators and the server did
			cambio audit events

			# When the signing keys changed
			cambio audit events --type keys_changed

			# Who looked at the ledger, for a program
			cambio audit events --type queried --limit 0 --output json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usage("--output is table or json, not %q", output)
			}
			if limit < 0 {
				return usage("--limit is a number of events; 0 means all")
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			return listEvents(cmd, s, types, limit, output)
		},
	}
	cmd.Flags().StringVar(&types, "type", "", "deny_added, deny_removed, policy_loaded, queried, approved, keys_changed, or several with commas; empty: all but queried")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most; 0: all")
	cmd.Flags().StringVar(&output, "output", "table", "table, or json for one object a line")
	addReach(cmd, &r, true)
	return cmd
}

// eventRow is what a table shows of an event.
type eventRow struct {
	Type   string `json:"type"`
	Time   string `json:"time"`
	Record struct {
		Exchange    string `json:"exchange"`
		Subject     string `json:"subject"`
		Reason      string `json:"reason"`
		Revision    string `json:"revision"`
		Explanation string `json:"explanation"`
	} `json:"record"`
}

// what is the explanation, and for policy the revision.
func (e eventRow) what() string {
	if e.Record.Explanation == "" {
		return e.Record.Revision
	}
	return e.Record.Explanation
}

func listEvents(cmd *cobra.Command, s *remote, types string, limit int, output string) error {
	var rows [][]string
	seen, token := 0, ""
	for {
		size := auditPage
		if limit > 0 {
			size = min(size, limit-seen)
		}
		a, err := s.ask(cmd.Context(), http.MethodGet, "/v1/events", url.Values{"type": {types}, "page_size": {strconv.Itoa(size)}, "page_token": {token}}, nil)
		if err != nil {
			return err
		}
		if a.status != http.StatusOK {
			return s.refused(a)
		}
		var page struct {
			Events []json.RawMessage `json:"events"`
			Next   string            `json:"next_page_token"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return fmt.Errorf("reading the events of %s: %w", s.base, err)
		}
		for _, one := range page.Events {
			seen++
			if output == "json" {
				if err := printLine(cmd.OutOrStdout(), one); err != nil {
					return err
				}
				continue
			}
			var e eventRow
			if err := json.Unmarshal(one, &e); err != nil {
				return fmt.Errorf("reading the events of %s: %w", s.base, err)
			}
			rows = append(rows, []string{e.Time, e.Type, e.Record.Subject, e.what(), e.Record.Reason, e.Record.Exchange})
		}
		if page.Next == "" || page.Next == token {
			token = ""
			break
		}
		if token = page.Next; limit > 0 && seen >= limit {
			break
		}
	}
	if output == "table" {
		if err := table(cmd.OutOrStdout(), []string{"TIME", "EVENT", "BY", "WHAT", "REASON", "ID"}, rows); err != nil {
			return err
		}
	}
	if token != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "There are more than these %d: raise --limit.\n", seen)
	}
	return nil
}
