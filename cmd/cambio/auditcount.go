package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
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

// fingerprint is how the ledger names a credential.
var fingerprint = regexp.MustCompile(`^[0-9a-f]{64}$`)

func newAuditWhoUsed() *cobra.Command {
	var r reach
	var limit int
	var output string
	cmd := &cobra.Command{
		Use:   "who-used (FINGERPRINT | FILE | -)",
		Short: "Find who was given a credential",
		Long: `Find who was given a credential: by its fingerprint, which the ledger shows as
credential, or by the credential itself in a file or on standard input. The
server makes the fingerprint of it, and neither keeps nor logs it.`,
		Example: examples(`
			# Who held the credential that was found in a log
			cambio audit who-used found.txt

			# The same by what the ledger calls it
			cambio audit who-used 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "table" && output != "json" {
				return usage("--output is table or json, not %q", output)
			}
			if limit < 1 || limit > 1000 {
				return usage("--limit is a number of exchanges from 1 to 1000")
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			name := args[0]
			if !fingerprint.MatchString(name) {
				if name == "-" && r.tokenFile == "-" {
					return usage("the credential and the token cannot both come on standard input")
				}
				credential, err := readToken(name, cmd.InOrStdin())
				if err != nil {
					return err
				}
				if name, err = s.findCredential(cmd, credential.Reveal()); err != nil {
					return err
				}
			}
			return listExchanges(cmd, s, `credential = "`+name+`"`, limit, output)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "how many exchanges at most")
	cmd.Flags().StringVar(&output, "output", "table", "table, or json for one object a line")
	addReach(cmd, &r, true)
	return cmd
}

// findCredential asks the server what the ledger calls a credential.
func (s *remote) findCredential(cmd *cobra.Command, credential string) (string, error) {
	body, err := json.Marshal(map[string]any{"credential": credential, "page_size": 1})
	if err != nil {
		return "", err
	}
	target := *s.base
	target.Path += "/v1/exchanges:findCredential"
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", s.base, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.token.Reveal())
	resp, err := s.http.Do(req)
	if err != nil {
		return "", unreachable(fmt.Errorf("%s cannot be reached", s.base))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", unreachable(fmt.Errorf("the answer of %s broke off: %w", s.base, err))
	}
	if resp.StatusCode != http.StatusOK {
		return "", s.refused(answer{status: resp.StatusCode, body: text})
	}
	var got struct {
		Credential string `json:"credential"`
	}
	if err := json.Unmarshal(text, &got); err != nil || !fingerprint.MatchString(got.Credential) {
		return "", fmt.Errorf("%s answered with something that is no fingerprint: is it Cambio's URL?", s.base)
	}
	return got.Credential, nil
}

func newAuditExport() *cobra.Command {
	var r reach
	var filter, format, ago string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write exchanges as CSV or JSON lines, newest first",
		Long: `Write exchanges as CSV or JSON lines, newest first, as they come: an export may
be as large as the ledger. Standard error says how far it is.`,
		Example: examples(`
			# The last day, for a spreadsheet
			cambio audit export --format csv --since 24h > day.csv

			# All that was ever refused, for a program
			cambio audit export --format jsonl --filter 'outcome = "denied"' > denied.jsonl`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "csv" && format != "jsonl" {
				return usage("--format is csv or jsonl, not %q", format)
			}
			if ago != "" {
				from, err := since(ago, time.Now())
				if err != nil {
					return err
				}
				when := `time >= timestamp("` + from.UTC().Format(time.RFC3339) + `")`
				if filter != "" {
					when = "(" + filter + ") AND " + when
				}
				filter = when
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			return exportExchanges(cmd, s, filter, format)
		},
	}
	cmd.Flags().StringVar(&filter, "filter", "", "which exchanges (AIP-160); empty: all")
	cmd.Flags().StringVar(&format, "format", "jsonl", "csv or jsonl")
	cmd.Flags().StringVar(&ago, "since", "", "how far back, such as 90m, 36h or 30d; empty: all")
	addReach(cmd, &r, true)
	return cmd
}

// exportColumns are the members in a CSV, in order; lists are joined by spaces.
var exportColumns = []string{
	"exchange", "time", "outcome", "error_kind", "subject", "trust", "actor", "client", "target", "provider", "rule", "revision",
	"asked_scopes", "scopes", "lifetime", "expire_time", "credential", "handle", "lease", "reused", "reason", "client_ip",
	"user_agent", "door", "trace_id", "token_id", "explanation",
}

// csvCell is a member's text. What a spreadsheet would take for a formula begins
// with an apostrophe, which spreadsheets take for "this is text": the texts are
// others'.
func csvCell(v any) string {
	text := ""
	switch v := v.(type) {
	case nil:
	case string:
		text = v
	case bool:
		text = strconv.FormatBool(v)
	case []any:
		var parts []string
		for _, part := range v {
			parts = append(parts, fmt.Sprint(part))
		}
		text = strings.Join(parts, " ")
	default:
		text = fmt.Sprint(v)
	}
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		text = "'" + text
	}
	return text
}

func exportExchanges(cmd *cobra.Command, s *remote, filter, format string) error {
	out := csv.NewWriter(cmd.OutOrStdout())
	if format == "csv" {
		if err := out.Write(exportColumns); err != nil {
			return err
		}
	}
	seen, said := 0, time.Now()
	query := url.Values{"page_size": {"1000"}}
	if filter != "" {
		query.Set("filter", filter)
	}
	for {
		page, err := exchangesPage(cmd.Context(), s, query)
		if err != nil {
			return err
		}
		for _, one := range page.Exchanges {
			seen++
			if format == "jsonl" {
				if err := printLine(cmd.OutOrStdout(), one); err != nil {
					return err
				}
				continue
			}
			var members map[string]any
			if err := json.Unmarshal(one, &members); err != nil {
				return fmt.Errorf("reading the list of %s: %w", s.base, err)
			}
			row := make([]string, len(exportColumns))
			for i, c := range exportColumns {
				row[i] = csvCell(members[c])
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
		if out.Flush(); out.Error() != nil {
			return out.Error()
		}
		if page.Next == "" || page.Next == query.Get("page_token") {
			break
		}
		query.Set("page_token", page.Next)
		if time.Since(said) > time.Second {
			said = time.Now()
			fmt.Fprintf(cmd.ErrOrStderr(), "%d exchanges so far\n", seen)
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d exchanges\n", seen)
	return nil
}
