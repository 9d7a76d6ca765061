package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newLeaseList() *cobra.Command {
	r := reach{operator: true}
	var all bool
	var limit int
	var output, before, after string
	match := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what is out, the last to expire first",
		Long: `List the leases of credentials that are out, the last to expire first: with the role
auditor or operator everybody's, else your own. Values are exact. Ended leases are
kept for a day after they would have expired.`,
		Example: examples(`
			# What is out
			cambio lease list

			# What a workload still has at one target, for a program
			cambio lease list --subject k8s:prod:agents:assistant --target github-mcp --limit 0 --output json

			# What dies within ten minutes
			cambio lease list --expires-before 10m`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			if limit < 0 {
				return usage("--limit is a number of leases; 0 means all")
			}
			query := url.Values{}
			for name, value := range match {
				if *value != "" {
					query.Set(name, *value)
				}
			}
			for name, text := range map[string]string{"expires-before": before, "expires-after": after} {
				if text == "" {
					continue
				}
				moment, err := fromNow("--"+name, text, time.Now())
				if err != nil {
					return err
				}
				query.Set(strings.ReplaceAll(name, "-", "_"), moment.UTC().Format(time.RFC3339Nano))
			}
			if all {
				query.Set("show_ended", "true")
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			return listLeases(cmd, s, query, limit, output)
		},
	}
	f := cmd.Flags()
	for _, m := range []struct{ name, what string }{
		{"subject", "only those for this subject, by the canonical name"},
		{"actor", "only those that this actor holds for somebody"},
		{"target", "only those for this target"},
		{"provider", "only those of this provider"},
		{"rule", "only those that this rule allowed"},
	} {
		match[m.name] = f.String(m.name, "", m.what)
	}
	f.StringVar(&before, "expires-before", "", "only those that die before then: a duration from now such as 10m, or a moment in RFC 3339")
	f.StringVar(&after, "expires-after", "", "only those that die after then, written likewise")
	f.BoolVar(&all, "all", false, "the revoked and the expired too")
	f.IntVar(&limit, "limit", 50, "how many at most; 0: all")
	f.StringVar(&output, "output", "table", "table, or json for one object a line")
	addReach(cmd, &r, true)
	return cmd
}

// fromNow reads a duration from now, or a moment; either may have passed.
func fromNow(flag, text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usage("%s is a duration such as 10m, or a moment such as 2026-11-21T15:04:05Z", flag)
	}
	return t, nil
}

func listLeases(cmd *cobra.Command, s *remote, query url.Values, limit int, output string) error {
	var rows [][]string
	seen, token := 0, ""
	for page := 0; page == 0 || token != "" && (limit == 0 || seen < limit); page++ {
		size := auditPage
		if limit > 0 {
			size = min(size, limit-seen)
		}
		query.Set("page_size", strconv.Itoa(size))
		if token != "" {
			query.Set("page_token", token)
		}
		a, err := s.ask(cmd.Context(), http.MethodGet, "/v1/leases", query, nil)
		if err != nil {
			return err
		}
		if a.status != http.StatusOK {
			return s.refused(a)
		}
		var got struct {
			Leases []json.RawMessage `json:"leases"`
			Next   string            `json:"next_page_token"`
		}
		if err := json.Unmarshal(a.body, &got); err != nil {
			return fmt.Errorf("reading the list of %s: %w", s.base, err)
		}
		for _, one := range got.Leases {
			if output == "json" {
				if err := printLine(cmd.OutOrStdout(), one); err != nil {
					return err
				}
				continue
			}
			var l leaseRow
			if err := json.Unmarshal(one, &l); err != nil {
				return fmt.Errorf("reading the list of %s: %w", s.base, err)
			}
			rows = append(rows, []string{l.life(time.Now()), l.Subject, l.Actor, l.Target, l.Handle, l.Rule, l.Lease})
		}
		seen, token = seen+len(got.Leases), got.Next
	}
	if output == "json" {
		return nil
	}
	if err := table(cmd.OutOrStdout(), []string{"LIFE", "SUBJECT", "ACTOR", "TARGET", "HANDLE", "RULE", "LEASE"}, rows); err != nil {
		return err
	}
	if token != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "There are more: --limit 0 lists all.")
	}
	return nil
}
