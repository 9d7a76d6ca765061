package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/exchange"
)

// What a tail accepts from a server: silence for as long as several heartbeats, and
// a line as long as the greatest record.
const (
	tailSilence = 45 * time.Second
	maxTailLine = 1 << 20
)

func newAuditTail() *cobra.Command {
	var r reach
	var filter, after, output string
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Follow exchanges as they finish",
		Long: `Follow exchanges as they finish, until interrupted. When the server ends it (the
token expires, an hour has passed, the server stops) the last line on standard
error says how to go on without missing any.`,
		Example: examples(`
			# Everything, as it happens
			cambio audit tail

			# What is refused, for a program
			cambio audit tail --filter 'outcome = "denied"' --output json

			# Go on where another tail ended
			cambio audit tail --after 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usage("--output is table or json, not %q", output)
			}
			if after != "" {
				if _, err := exchange.ParseID(after); err != nil {
					return usage("--after %q names no exchange: %w", after, err)
				}
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			query := url.Values{}
			for name, value := range map[string]string{"filter": filter, "after": after} {
				if value != "" {
					query.Set(name, value)
				}
			}
			last, err := s.tail(cmd.Context(), query, tailSilence, func(one json.RawMessage) error {
				if output == "json" {
					return printLine(cmd.OutOrStdout(), one)
				}
				return printRow(cmd.OutOrStdout(), one)
			})
			if last == "" && statusOf(err, io.Discard) != statusFault {
				last = after
			}
			if last != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "Go on with: --after %s\n", clean(last))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&filter, "filter", "", "which exchanges (AIP-160); empty: all")
	cmd.Flags().StringVar(&after, "after", "", "begin after this exchange; empty: now")
	cmd.Flags().StringVar(&output, "output", "table", "table, or json for one object a line")
	addReach(cmd, &r, true)
	return cmd
}

// printRow writes what a table shows of an exchange, on one line, without waiting
// for others to learn the widths of columns.
func printRow(w io.Writer, one json.RawMessage) error {
	var row auditRow
	if err := json.Unmarshal(one, &row); err != nil {
		return fmt.Errorf("reading an exchange: %w", err)
	}
	for i, cell := range row.cells() {
		if i > 0 {
			fmt.Fprint(w, "  ")
		}
		if cell = clean(cell); cell == "" {
			cell = "-"
		}
		fmt.Fprint(w, cell)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// tail reads the lines of a tail, and returns the id of the last exchange that show
// was given. A server from which nothing comes for silence is given up.
// Who is interrupted is done.
func (s *remote) tail(parent context.Context, query url.Values, silence time.Duration, show func(json.RawMessage) error) (last string, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	watchdog := time.AfterFunc(silence, cancel)
	defer watchdog.Stop()
	target := *s.base
	target.Path += "/v1/exchanges:tail"
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", s.base, err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token.Reveal())
	req.Header.Set("User-Agent", "cambio/"+thisBuild().Version)
	patient := *s.http
	patient.Timeout = 0 // the watchdog is the limit
	resp, err := patient.Do(req)
	if err != nil && parent.Err() != nil {
		return "", nil
	}
	if err != nil {
		return "", s.lost(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what came is what is said
		return "", s.refused(answer{status: resp.StatusCode, body: text})
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxTailLine)
	for lines.Scan() {
		watchdog.Reset(silence)
		var line struct {
			Result *struct {
				Exchange json.RawMessage `json:"exchange"`
			} `json:"result"`
			Error string `json:"error"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || (line.Result == nil) == (line.Error == "") {
			return last, fmt.Errorf("%s answered with something that is no tail: is it Cambio's URL?", s.base)
		}
		switch {
		case line.Error == "temporarily_unavailable":
			return last, s.refused(answer{status: http.StatusServiceUnavailable, body: lines.Bytes()})
		case line.Error != "":
			return last, s.refused(answer{status: http.StatusForbidden, body: lines.Bytes()})
		case len(line.Result.Exchange) == 0:
			continue
		}
		var of struct {
			Exchange string `json:"exchange"`
		}
		if err := json.Unmarshal(line.Result.Exchange, &of); err != nil {
			return last, fmt.Errorf("reading the tail of %s: %w", s.base, err)
		}
		if err := show(line.Result.Exchange); err != nil {
			return last, err
		}
		last = of.Exchange
	}
	if parent.Err() != nil {
		return last, nil
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return last, fmt.Errorf("the tail of %s has a line of more than %d bytes", s.base, maxTailLine)
	}
	return last, unreachable(fmt.Errorf("the tail of %s broke off", s.base))
}
