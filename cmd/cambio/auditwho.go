package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"

	"github.com/spf13/cobra"
)

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
				if errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("%q is neither a fingerprint, which has 64 hexadecimal digits, nor a file that is here", name)
				}
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
	a, err := s.post(cmd.Context(), "/v1/exchanges:findCredential", map[string]any{"credential": credential, "page_size": 1})
	if err != nil {
		return "", err
	}
	if a.status != http.StatusOK {
		return "", s.refused(a)
	}
	var got struct {
		Credential string `json:"credential"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil || !fingerprint.MatchString(got.Credential) {
		return "", fmt.Errorf("%s answered with something that is no fingerprint: is it Cambio's URL?", s.base)
	}
	return got.Credential, nil
}
