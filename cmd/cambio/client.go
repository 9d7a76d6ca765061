package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	"github.com/cambio-sts/cambio/exchange/policy"
)

func newClientGroup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "client",
		Short: "Make credentials of registered clients",
		Example: examples(`
			# Make a secret and the line that policy keeps of it
			cambio client secret`),
	}
	cmd.AddCommand(newClientSecret())
	return cmd
}

func newClientSecret() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Make a client's secret, and its line of policy",
		Long: `Make a secret of 32 random bytes, and what policy keeps of it: a hash, from which
nobody can tell the secret. The secret is printed once and kept nowhere. Only
secrets made here are taken: a hash of what a person made up could be guessed.

To replace a secret, write both hashes as a list, give the client the new one, and
take the old hash out.`,
		Example: examples(`
			# Make a secret; paste the second line under clients: in a policy file
			cambio client secret

			# Make one for a script
			cambio client secret --output json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output, "text", "json"); err != nil {
				return err
			}
			secret, hash, err := client.NewSecret(rand.Reader)
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"secret": secret.Reveal(), "sha256": hash})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\nsecret: {sha256: %s}\n", secret.Reveal(), hash)
			return err
		},
	}
	outputFlag(cmd, &output, "text")
	return cmd
}

// identifyClient fills in the client that asks, as if it were authenticated.
func (f *explainFlags) identifyClient(_ *cobra.Command, l *loaded, q *exchange.Question) error {
	if err := policy.DescribeClient(l.revision, q, f.client); err != nil {
		return usage("--client: %w", err)
	}
	return nil
}
