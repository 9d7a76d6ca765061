package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/exchange"
)

// tokenExchange is the grant type of RFC 8693 §2.1.
const tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// tokenTypePrefix begins the token types of RFC 8693 §3; on the command line their
// last part is enough.
const tokenTypePrefix = "urn:ietf:params:oauth:token-type:"

// exchangeFlags is one exchange as the command line asks for it.
type exchangeFlags struct {
	reach
	target, resource         string
	subjectFile, subjectType string
	actorFile                string
	passthroughFile          string
	requestedType            string
	scopes                   []string
	lifetime                 time.Duration
	reason                   string
	publicKey, newKey        string
	output, variable         string
}

func newExchange() *cobra.Command {
	var f exchangeFlags
	cmd := &cobra.Command{
		Use:   "exchange (--target T | --resource URI)",
		Short: "Exchange a token for a credential",
		Long: `Bring a token to the server's token endpoint (RFC 8693) and print the credential
that it gives for it.`,
		Example: examples(`
			# Exchange a development token, as a pod of the cluster would
			cambio token --trust cluster --namespace agents --service-account assistant |
			  cambio exchange --target github-mcp --subject-token-file -

			# Print nothing but the credential
			cambio exchange --url https://cambio.example --target github-mcp \
			  --subject-token-file /var/run/secrets/tokens/cambio --output token

			# Act for a person, and say why
			cambio exchange --target github-mcp --subject-token-file alice.jwt \
			  --actor-token-file agent.jwt --reason "ticket 4711"

			# Give the variables that AWS's SDKs read to this shell
			export $(cambio exchange --target bedrock --subject-token-file gateway.jwt --output env)

			# Get a token of OCI that is bound to a new key
			cambio exchange --target oci-genai --subject-token-file gateway.jwt --new-key key.pem`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.target, "target", "", "name of the target")
	flags.StringVar(&f.resource, "resource", "", "URI of the target")
	f.add(cmd)
	flags.StringVar(&f.publicKey, "public-key", "", "PEM file of the public key that you will prove possession of")
	flags.StringVar(&f.newKey, "new-key", "", "the same with a new RSA key, whose private half is written to this file in PEM")
	flags.StringVar(&f.output, "output", "json", "json (the endpoint's answer), token, or env (what SDKs read)")
	flags.StringVar(&f.variable, "variable", defaultVariable, "with --output env: what to call a credential that is one text")
	addReach(cmd, &f.reach, false)
	return cmd
}

// add adds the flags of the request, save where it goes and what key it is bound to.
func (f *exchangeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.subjectFile, "subject-token-file", "-", "file of the token to exchange; - is standard input")
	flags.StringVar(&f.subjectType, "subject-token-type", "jwt", "what it is: jwt, access_token, id_token, or a URI")
	flags.StringVar(&f.actorFile, "actor-token-file", "", "file of the token of who acts for the subject")
	flags.StringVar(&f.passthroughFile, "passthrough-token-file", "", "file of the subject's own token for a provider that takes no other")
	flags.StringVar(&f.requestedType, "requested-token-type", "", "what to get: a token type's last part, or a URI")
	flags.StringArrayVar(&f.scopes, "scope", nil, "a scope to ask for; may be repeated")
	flags.DurationVar(&f.lifetime, "lifetime", 0, "how long it should live, such as 10m")
	flags.StringVar(&f.reason, "reason", "", "why, for the ledger")
}

func (f *exchangeFlags) run(cmd *cobra.Command) error {
	if !slices.Contains([]string{"json", "token", "env"}, f.output) {
		return usage("--output is json, token or env, not %q", f.output)
	}
	if cmd.Flags().Changed("variable") {
		switch {
		case f.output != "env":
			return usage("--variable is for --output env")
		case !variableName.MatchString(f.variable):
			return usage("--variable %q is no name of a variable: letters, digits and _, no digit first", f.variable)
		}
	}
	form, err := f.form(cmd.InOrStdin())
	if err != nil {
		return err
	}
	body, err := f.vend(cmd, form)
	if err != nil {
		if f.newKey != "" {
			_ = os.Remove(f.newKey) // nothing is bound to it
		}
		return err
	}
	return f.print(cmd.OutOrStdout(), body)
}

// vend asks the token endpoint.
func (f *exchangeFlags) vend(cmd *cobra.Command, form url.Values) ([]byte, error) {
	s, err := f.find(cmd, false)
	if err != nil {
		return nil, err
	}
	a, err := s.ask(cmd.Context(), http.MethodPost, "/oauth2/token", nil, form)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		if f.output == "json" && json.Valid(a.body) {
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", a.body)
		}
		return nil, s.refused(a)
	}
	return a.body, nil
}

// form makes the request of RFC 8693 §2.1.
func (f *exchangeFlags) form(stdin io.Reader) (url.Values, error) {
	form := url.Values{"grant_type": {tokenExchange}}
	switch {
	case (f.target == "") == (f.resource == ""):
		return nil, usage("name where the credential is for: --target NAME or --resource URI")
	case f.target != "":
		form.Set("audience", f.target)
	default:
		form.Set("resource", f.resource)
	}
	if onStdin(f.subjectFile, f.actorFile, f.passthroughFile) > 1 {
		return nil, usage("standard input holds one token: give the other in a file")
	}
	if f.lifetime != 0 {
		if f.lifetime < time.Second || f.lifetime%time.Second != 0 {
			return nil, usage("--lifetime is whole seconds, at least one, not %s", f.lifetime)
		}
		form.Set("requested_lifetime", strconv.FormatInt(int64(f.lifetime/time.Second), 10))
	}
	subject, err := readToken(f.subjectFile, stdin)
	if err != nil {
		return nil, err
	}
	form.Set("subject_token", subject.Reveal())
	form.Set("subject_token_type", tokenType(f.subjectType))
	if f.actorFile != "" {
		actor, err := readToken(f.actorFile, stdin)
		if err != nil {
			return nil, err
		}
		form.Set("actor_token", actor.Reveal())
		form.Set("actor_token_type", string(exchange.TokenTypeJWT))
	}
	if f.passthroughFile != "" {
		token, err := readToken(f.passthroughFile, stdin)
		if err != nil {
			return nil, err
		}
		form.Set("passthrough_token", token.Reveal())
	}
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"requested_token_type": tokenType(f.requestedType), "public_key": key, "scope": strings.Join(f.scopes, " "), "reason": f.reason,
	} {
		if value != "" {
			form.Set(name, value)
		}
	}
	return form, nil
}

// onStdin counts the files that are standard input.
func onStdin(files ...string) (n int) {
	for _, file := range files {
		if file == "-" {
			n++
		}
	}
	return n
}

func tokenType(name string) string {
	if name == "" || strings.Contains(name, ":") {
		return name
	}
	return tokenTypePrefix + name
}

func (f *exchangeFlags) print(w io.Writer, body []byte) error {
	if f.output == "json" {
		_, err := fmt.Fprintf(w, "%s\n", body)
		return err
	}
	c, err := readCredential(body)
	if err != nil {
		return err
	}
	if f.output == "env" {
		return c.printEnvironment(w, f.variable)
	}
	_, err = fmt.Fprintln(w, c.value.Reveal())
	return err
}
