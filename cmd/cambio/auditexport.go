package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

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
	"asked_scopes", "scopes", "lifetime", "expire_time", "credential", "handle", "lease", "lineage", "reused", "reason", "client_ip",
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
