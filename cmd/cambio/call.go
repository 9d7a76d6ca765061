package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/clouds"
	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange/policy"
)

// callFlags is an exchange with a cambio dev, and what it opens there.
type callFlags struct {
	exchangeFlags
	output string
}

func newCall() *cobra.Command {
	var f callFlags
	cmd := &cobra.Command{
		Use:   "call --target T",
		Short: "Try what a credential opens at a cambio dev",
		Long: `Exchange a token with the cambio dev that runs from --data, and make one chat call
of the target's provider with the credential: signed for AWS and OCI, as a bearer
token for the others. It prints who the provider says you are. The provider is the
stand-in that dev plays: nothing leaves this machine.

For OCI a key is made for the one call.`,
		Example: examples(`
			# Who is the gateway in AWS?
			cambio token --trust cluster --namespace llm --service-account gateway |
			  cambio call --target bedrock

			# IBM Cloud takes the workload's own token, of audience iam
			cambio token --trust cluster --namespace llm --service-account gateway --audience iam >iam.jwt
			cambio token --trust cluster --namespace llm --service-account gateway |
			  cambio call --target watsonx --passthrough-token-file iam.jwt`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().StringVar(&f.target, "target", "", "name of the target")
	f.add(cmd)
	cmd.Flags().StringVar(&f.data, "data", defaultData, "data folder of the running cambio dev")
	outputFlag(cmd, &f.output, "text")
	return cmd
}

func (f *callFlags) run(cmd *cobra.Command) error {
	if err := checkOutput(f.output, "text", "json"); err != nil {
		return err
	}
	if f.target == "" {
		return usage("name the target: --target NAME")
	}
	ready, err := devworld.FindReady(f.data)
	if errors.Is(err, devworld.ErrNoData) {
		return unreachable(fmt.Errorf("no cambio dev runs from %s: start it with `cambio dev`", f.data))
	}
	if err != nil {
		return err
	}
	provider, err := f.provider()
	if err != nil {
		return err
	}
	if _, played := ready.Clouds[provider]; provider != "" && !played {
		return fmt.Errorf("the target %q is of the provider %s, which cambio dev does not play", f.target, provider)
	}
	form, err := f.form(cmd.InOrStdin())
	if err != nil {
		return err
	}
	var key *rsa.PrivateKey
	if provider == clouds.OCI {
		if key, err = rsa.GenerateKey(rand.Reader, newKeyBits); err != nil {
			return fmt.Errorf("making a key: %w", err)
		}
		public, err := publicHalf(key)
		if err != nil {
			return err
		}
		form.Set("public_key", public)
	}
	c, err := f.vend(cmd, ready, form)
	if err != nil {
		return err
	}
	if provider == "" {
		return fmt.Errorf("there is a credential, and no target %q in %s by which to know what it opens", f.target, filepath.Join(f.data, "policy"))
	}
	return f.chat(cmd, ready, provider, c, key)
}

// provider is the kind of the target in dev's policy; empty: there is no such target.
func (f *callFlags) provider() (string, error) {
	l, err := (&policyFlags{dir: filepath.Join(f.data, "policy")}).load()
	var faults policy.Faults
	if errors.As(err, &faults) {
		return "", fmt.Errorf("the policy in %s is at fault: cambio policy check --policy %[1]s shows where", filepath.Join(f.data, "policy"))
	}
	if err != nil {
		return "", err
	}
	if t := l.revision.Target(f.target); t != nil {
		return t.Provider, nil
	}
	return "", nil
}

// vend exchanges at the dev.
func (f *callFlags) vend(cmd *cobra.Command, ready devworld.Ready, form url.Values) (credential, error) {
	s, err := atDev(ready, f.data)
	if err != nil {
		return credential{}, err
	}
	a, err := s.ask(cmd.Context(), http.MethodPost, "/oauth2/token", nil, form)
	if err != nil {
		return credential{}, err
	}
	if a.status != http.StatusOK {
		return credential{}, s.refused(a)
	}
	return readCredential(a.body)
}

// chat makes the call and prints the reply.
func (f *callFlags) chat(cmd *cobra.Command, ready devworld.Ready, provider string, c credential, key *rsa.PrivateKey) error {
	r, body, err := clouds.Chat(cmd.Context(), provider, ready.Clouds[provider])
	if err != nil {
		return err
	}
	if err := c.authorize(r, body, key); err != nil {
		return err
	}
	client, err := newClient(ready.CAFile)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return unreachable(fmt.Errorf("the stand-in of %s cannot be reached: %w", provider, err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return unreachable(fmt.Errorf("the answer of the stand-in of %s broke off: %w", provider, err))
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d: %s", provider, resp.StatusCode, clean(strings.TrimSpace(string(answer[:min(len(answer), 500)]))))
	}
	says, err := clouds.Reply(provider, answer)
	if err != nil {
		return err
	}
	if f.output == "json" {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
			Target   string `json:"target"`
			Provider string `json:"provider"`
			Endpoint string `json:"endpoint"`
			Says     string `json:"says"`
		}{f.target, provider, ready.Clouds[provider], says})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s says: %s\n", provider, clean(says))
	return err
}
