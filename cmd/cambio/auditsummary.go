package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// since turns a duration such as 36h or 30d into the moment that long ago.
func since(text string, now time.Time) (time.Time, error) {
	number, days := strings.CutSuffix(text, "d")
	if days {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 || n > 3650 {
			return time.Time{}, usage("--since is a time such as 90m, 36h or 30d, not %q", text)
		}
		return now.AddDate(0, 0, -int(n)), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > 87600*time.Hour {
		return time.Time{}, usage("--since is a time such as 90m, 36h or 30d, not %q", text)
	}
	return now.Add(-d), nil
}

func newAuditSummary() *cobra.Command {
	var r reach
	var filter, by, ago, output string
	var limit int
	cmd := &cobra.Command{
		Use:   "summary",
		Short: "Count exchanges by hour, subject, target, rule or outcome",
		Long: `Count finished exchanges, in whole hours up to now. Filters by subject, target,
rule and outcome are quick over any time; by other fields they count row by row.`,
		Example: examples(`
			# How the last 30 days ended
			cambio audit summary

			# Who was refused most in the last day, and where
			cambio audit summary --by subject,target --since 24h --filter 'outcome = "denied"'

			# Hour by hour, for a program
			cambio audit summary --by hour --since 7d --output json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usage("--output is table or json, not %q", output)
			}
			if limit < 1 || limit > 10_000 {
				return usage("--limit is a number of rows from 1 to 10000")
			}
			columns := strings.Split(by, ",")
			for _, c := range columns {
				if !slices.Contains([]string{"hour", "subject", "target", "rule", "outcome"}, c) {
					return usage("--by is hour, subject, target, rule or outcome, or several with commas, not %q", by)
				}
			}
			from, err := since(ago, time.Now())
			if err != nil {
				return err
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			query := url.Values{"by": {by}, "max_rows": {strconv.Itoa(limit)}, "start_time": {from.UTC().Format(time.RFC3339)}}
			if filter != "" {
				query.Set("filter", filter)
			}
			a, err := s.ask(cmd.Context(), http.MethodGet, "/v1/exchanges:summarize", query, nil)
			if err != nil {
				return err
			}
			if a.status != http.StatusOK {
				return s.refused(a)
			}
			if output == "json" {
				return printLine(cmd.OutOrStdout(), a.body)
			}
			return printSummary(cmd, a.body, columns)
		},
	}
	cmd.Flags().StringVar(&filter, "filter", "", "which exchanges (AIP-160); empty: all")
	cmd.Flags().StringVar(&by, "by", "outcome", "hour, subject, target, rule or outcome, or several with commas")
	cmd.Flags().StringVar(&ago, "since", "30d", "how far back, such as 90m, 36h or 30d, to the whole hour before")
	cmd.Flags().IntVar(&limit, "limit", 1000, "how many rows at most")
	cmd.Flags().StringVar(&output, "output", "table", "table, or json")
	addReach(cmd, &r, true)
	return cmd
}

// printSummary writes a table; int64s are texts in JSON.
func printSummary(cmd *cobra.Command, body []byte, columns []string) error {
	var got struct {
		Rows   []map[string]string `json:"rows"`
		Groups string              `json:"group_count"`
		Total  string              `json:"exchange_count"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("reading the summary: %w", err)
	}
	header := []string{"COUNT"}
	for _, c := range columns {
		header = append(header, strings.ToUpper(c))
	}
	var rows [][]string
	for _, row := range got.Rows {
		cells := []string{row["count"]}
		for _, c := range columns {
			cells = append(cells, row[c])
		}
		rows = append(rows, cells)
	}
	if err := table(cmd.OutOrStdout(), header, rows); err != nil {
		return err
	}
	if groups, err := strconv.Atoi(got.Groups); err == nil && groups > len(rows) {
		fmt.Fprintf(cmd.ErrOrStderr(), "There are %d rows in all: raise --limit, or narrow with --filter.\n", groups)
	}
	return nil
}
