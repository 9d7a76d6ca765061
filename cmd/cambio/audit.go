package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/exchange"
)

// auditPage is how many exchanges are asked for at once.
const auditPage = 200

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read the ledger",
		Example: examples(`
			# The newest exchanges
			cambio audit list

			# Everything about one of them
			cambio audit show 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81`),
	}
	cmd.AddCommand(newAuditList(), newAuditShow(), newAuditTail(), newAuditSummary(), newAuditEvents(), newAuditWhoUsed(), newAuditExport())
	return cmd
}

func newAuditList() *cobra.Command {
	var r reach
	var filter, output string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List exchanges, newest first",
		Long: `List exchanges, newest first. A filter compares fields (time, subject, actor,
trust, client, target, provider, outcome, error_kind, rule, revision, client_ip,
credential, handle, reason, exchange) as AIP-160 says. Each listing is itself
recorded in the ledger. Scopes in parentheses were asked for and not granted.`,
		Example: examples(`
			# The newest exchanges of a cambio dev that runs in this folder
			cambio audit list

			# What was refused lately
			cambio audit list --filter 'outcome = "denied"'

			# Everything that one subject got this month, for a program
			cambio audit list --url https://cambio.example --token-file me.jwt --limit 0 --output json \
			  --filter 'subject = "k8s:prod:llm:gateway" AND time >= "2026-11-01T00:00:00Z"'`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usage("--output is table or json, not %q", output)
			}
			if limit < 0 {
				return usage("--limit is a number of exchanges; 0 means all")
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			return listExchanges(cmd, s, filter, limit, output)
		},
	}
	cmd.Flags().StringVar(&filter, "filter", "", "which exchanges (AIP-160); empty: all")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most; 0: all")
	cmd.Flags().StringVar(&output, "output", "table", "table, or json for one object a line")
	addReach(cmd, &r, true)
	return cmd
}

// auditPageAnswer is a page of GET /v1/exchanges.
type auditPageAnswer struct {
	Exchanges []json.RawMessage `json:"exchanges"`
	Next      string            `json:"next_page_token"`
}

// exchangesPage asks for one page.
func exchangesPage(ctx context.Context, s *remote, query url.Values) (auditPageAnswer, error) {
	a, err := s.ask(ctx, http.MethodGet, "/v1/exchanges", query, nil)
	if err != nil {
		return auditPageAnswer{}, err
	}
	if a.status != http.StatusOK {
		return auditPageAnswer{}, s.refused(a)
	}
	var page auditPageAnswer
	if err := json.Unmarshal(a.body, &page); err != nil {
		return auditPageAnswer{}, fmt.Errorf("reading the list of %s: %w", s.base, err)
	}
	return page, nil
}

// auditRow is what a table shows of an exchange.
type auditRow struct {
	Exchange  string   `json:"exchange"`
	Time      string   `json:"time"`
	Outcome   string   `json:"outcome"`
	Subject   string   `json:"subject"`
	Actor     string   `json:"actor"`
	Target    string   `json:"target"`
	Scopes    []string `json:"scopes"`
	Asked     []string `json:"asked_scopes"`
	Rule      string   `json:"rule"`
	ErrorKind string   `json:"error_kind"`
}

func listExchanges(cmd *cobra.Command, s *remote, filter string, limit int, output string) error {
	var rows [][]string
	token, seen := "", 0
	for {
		size := auditPage
		if limit > 0 {
			size = min(size, limit-seen)
		}
		query := url.Values{"page_size": {strconv.Itoa(size)}}
		if filter != "" {
			query.Set("filter", filter)
		}
		if token != "" {
			query.Set("page_token", token)
		}
		page, err := exchangesPage(cmd.Context(), s, query)
		if err != nil {
			return err
		}
		for _, one := range page.Exchanges {
			seen++
			if output == "json" {
				if err := printLine(cmd.OutOrStdout(), one); err != nil {
					return err
				}
				continue
			}
			var row auditRow
			if err := json.Unmarshal(one, &row); err != nil {
				return fmt.Errorf("reading the list of %s: %w", s.base, err)
			}
			rows = append(rows, row.cells())
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
		if err := table(cmd.OutOrStdout(), []string{"TIME", "OUTCOME", "SUBJECT", "ACTOR", "TARGET", "SCOPES", "RULE OR REASON", "EXCHANGE"}, rows); err != nil {
			return err
		}
	}
	if token != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "There are more than these %d: raise --limit, or narrow with --filter.\n", seen)
	}
	return nil
}

func (r auditRow) cells() []string {
	scopes := strings.Join(r.Scopes, " ")
	if scopes == "" && len(r.Asked) > 0 {
		scopes = "(" + strings.Join(r.Asked, " ") + ")"
	}
	why := r.Rule
	if r.ErrorKind != "" {
		why = r.ErrorKind
		if r.Rule != "" {
			why += " by " + r.Rule
		}
	}
	return []string{r.Time, r.Outcome, r.Subject, r.Actor, r.Target, scopes, why, r.Exchange}
}

// printLine writes one JSON value on one line.
func printLine(w io.Writer, value json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

func newAuditShow() *cobra.Command {
	var r reach
	var filter, output string
	cmd := &cobra.Command{
		Use:   "show (EXCHANGE | --filter EXPR)",
		Short: "Show one exchange with all its events",
		Example: examples(`
			# Everything about an exchange whose id an answer or the log gave
			cambio audit show 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81

			# Everything about the newest that was refused
			cambio audit show --filter 'outcome = "denied"'

			# The same for a program
			cambio audit show 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81 --output json`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "table" && output != "json" {
				return usage("--output is table or json, not %q", output)
			}
			if (len(args) == 0) == (filter == "") {
				return usage("name the exchange by its id, or select the newest that matches a --filter")
			}
			if len(args) == 1 {
				if _, err := exchange.ParseID(args[0]); err != nil {
					return usage("%q names no exchange: %w", args[0], err)
				}
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			id := strings.Join(args, "")
			if id == "" {
				if id, err = newest(cmd, s, filter); err != nil {
					return err
				}
			}
			a, err := s.ask(cmd.Context(), http.MethodGet, "/v1/exchanges/"+id, nil, nil)
			if err != nil {
				return err
			}
			if a.status != http.StatusOK {
				return s.refused(a)
			}
			if output == "json" {
				return printLine(cmd.OutOrStdout(), a.body)
			}
			return showExchange(cmd.OutOrStdout(), a.body)
		},
	}
	cmd.Flags().StringVar(&filter, "filter", "", "show the newest exchange that matches (AIP-160)")
	cmd.Flags().StringVar(&output, "output", "table", "table, or json")
	addReach(cmd, &r, true)
	return cmd
}

// newest is the id of the newest exchange that matches.
func newest(cmd *cobra.Command, s *remote, filter string) (string, error) {
	for token := ""; ; {
		query := url.Values{"page_size": {"1"}, "filter": {filter}}
		if token != "" {
			query.Set("page_token", token)
		}
		page, err := exchangesPage(cmd.Context(), s, query)
		if err != nil {
			return "", err
		}
		if len(page.Exchanges) > 0 {
			var row auditRow
			if err := json.Unmarshal(page.Exchanges[0], &row); err != nil {
				return "", fmt.Errorf("reading the list of %s: %w", s.base, err)
			}
			id, err := exchange.ParseID(row.Exchange)
			if err != nil {
				return "", fmt.Errorf("reading the list of %s: %w", s.base, err)
			}
			return id.String(), nil
		}
		if page.Next == "" || page.Next == token {
			return "", errors.New("no exchange matches")
		}
		token = page.Next
	}
}

// showExchange prints every member that is set, then the history.
func showExchange(w io.Writer, body []byte) error {
	var got struct {
		Exchange json.RawMessage `json:"exchange"`
		Events   []struct {
			Event string `json:"event"`
			Type  string `json:"type"`
			Time  string `json:"time"`
		} `json:"events"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("reading the exchange: %w", err)
	}
	members, err := orderedMembers(got.Exchange)
	if err != nil {
		return fmt.Errorf("reading the exchange: %w", err)
	}
	if err := table(w, []string{"FIELD", "VALUE"}, members); err != nil {
		return err
	}
	fmt.Fprintln(w)
	var events [][]string
	for _, e := range got.Events {
		events = append(events, []string{e.Time, e.Type, e.Event})
	}
	return table(w, []string{"TIME", "EVENT", "ID"}, events)
}

// orderedMembers lists the members of a JSON object in the order in which they
// were written, without the empty ones.
func orderedMembers(object []byte) ([][]string, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("an object was expected: %w", err)
	}
	var rows [][]string
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		text := string(raw)
		var plain string
		if json.Unmarshal(raw, &plain) == nil {
			text = plain
		}
		switch text {
		case "", "null", "[]", "{}", "false", "0":
			continue
		}
		rows = append(rows, []string{fmt.Sprint(name), text})
	}
	return rows, nil
}
