package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func newLeaseRevoke() *cobra.Command {
	r := reach{operator: true}
	var reason, output string
	cmd := &cobra.Command{
		Use:   "revoke LEASE",
		Short: "Take a credential back, and what was obtained with it",
		Long: `Take a credential back, and everything that was obtained with it, and say of each
whether it is dead now, dead here only, dies by itself, or could not be stopped and
why. It takes the role operator and a reason, save for what is your own.

Exit status 1 with a list means: something that could be taken back was not. The same
command tries those again.`,
		Example: examples(`
			# Take one back
			cambio lease revoke 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81 --reason "INC-7: lost laptop"

			# Give back what is your own
			cambio lease revoke 019a9c7e-0f6b-7c2e-b1a4-3f0d5a2c9e81 --token-file me.jwt`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			if err := leaseID(args[0]); err != nil {
				return err
			}
			s, err := r.find(cmd, true)
			if err != nil {
				return err
			}
			return revokeLease(cmd, s, args[0], reason, output)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, in one line")
	cmd.Flags().StringVar(&output, "output", "table", "table, or json for one object a line: the lease, then the credentials")
	addReach(cmd, &r, true)
	return cmd
}

// revokeLease revokes and goes on until everything has been looked at.
func revokeLease(cmd *cobra.Command, s *remote, lease, reason, output string) error {
	var fates fateTable
	asked := map[string]any{"reason": reason}
	token := ""
	for page := 0; page == 0 || token != ""; page++ {
		if token != "" {
			asked["page_token"] = token
		}
		a, err := s.post(cmd.Context(), "/v1/leases/"+lease+":revoke", asked)
		if err == nil && a.status != http.StatusOK {
			err = s.refused(a)
		}
		if err != nil {
			if page > 0 {
				return fmt.Errorf("%w (to go on, repeat this)", err)
			}
			return err
		}
		var got struct {
			Lease       json.RawMessage   `json:"lease"`
			Credentials []json.RawMessage `json:"credentials"`
			Next        string            `json:"next_page_token"`
		}
		var l leaseRow
		err = json.Unmarshal(a.body, &got)
		if err == nil {
			err = json.Unmarshal(got.Lease, &l)
		}
		if err != nil {
			return fmt.Errorf("reading the answer of %s: %w", s.base, err)
		}
		if page == 0 && output == "json" {
			if err := printLine(cmd.OutOrStdout(), got.Lease); err != nil {
				return err
			}
		}
		own, err := fates.add(cmd.OutOrStdout(), got.Credentials, output, lease)
		if err != nil {
			return fmt.Errorf("reading the answer of %s: %w", s.base, err)
		}
		if page == 0 && !own && output == "table" {
			fmt.Fprintf(cmd.OutOrStdout(), "The credential had ended before: %s.\n", clean(l.life(time.Now())))
		}
		token = got.Next
	}
	if err := fates.print(cmd, output, ""); err != nil {
		return err
	}
	if fates.left > 0 {
		return fmt.Errorf("%s could be taken back and were not: repeat this to try again", countOf(fates.left, "credential"))
	}
	return nil
}
