package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/clouds"
	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

type sandboxFlags struct {
	issuer, jwks, subject   string
	listen, data, readyFile string
	output                  string
}

func newSandbox() *cobra.Command {
	var f sandboxFlags
	cmd := &cobra.Command{
		Use:   "sandbox --issuer URL [--jwks FILE]",
		Short: "Play the providers on this machine, for your own software",
		Long: `Run stand-ins of AWS, Azure, Google Cloud, OCI, IBM Cloud, Anthropic and OpenAI
on this machine, until interrupted. They trust the tokens of one issuer of yours,
verify them as the real ones do, refuse with the real ones' errors, and what they
vend opens a chat endpoint that answers who you are.

The issuer's keys come from its discovery document, or from a file. Each stand-in
asks for the audience and the subject that the table says; the certificates are of
an authority that is made at each start. Nothing listens beyond this machine, and
cambio dev runs all of it beside a whole Cambio.`,
		Example: examples(`
			# Trust the issuer of assertions of a Cambio that runs on this machine
			cambio sandbox --issuer http://127.0.0.1:8080/federation

			# Trust keys in a file, let any subject in, and say in a file when it is ready
			cambio sandbox --issuer https://issuer.example --jwks keys.json --subject '*' \
			  --listen 127.0.0.1:0 --ready-file ready.json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.issuer, "issuer", "", "the iss of the tokens to trust")
	flags.StringVar(&f.jwks, "jwks", "", "file of its JWK Set (default: what its discovery document names)")
	flags.StringVar(&f.subject, "subject", "", "the sub to let in; * at its end stands for anything, save with Azure (default: those of the sample policy)")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8081", "address of the first stand-in, of this machine; the others follow; port 0 takes free ones")
	flags.StringVar(&f.data, "data", "./cambio-sandbox", "folder for the authority's certificate, a shell file of variables, and OCI's client secret")
	flags.StringVar(&f.readyFile, "ready-file", "", "file to write when they answer: what --output json prints")
	outputFlag(cmd, &f.output, "table")
	return cmd
}

// sandboxReady is what a running sandbox says of itself.
type sandboxReady struct {
	Issuer      string            `json:"issuer"`
	CAFile      string            `json:"ca_file"`
	OCISecret   string            `json:"oci_client_secret_file"`
	EnvFile     string            `json:"environment_file"`
	Environment map[string]string `json:"environment"`
	Clouds      []sandboxCloud    `json:"clouds"`
}

type sandboxCloud struct {
	Name     string            `json:"name"`
	Endpoint string            `json:"endpoint"`
	Audience string            `json:"audience"`
	Subject  string            `json:"subject"`
	Settings map[string]string `json:"settings"`
}

func (f *sandboxFlags) run(cmd *cobra.Command) error {
	if err := checkOutput(f.output, "table", "json"); err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := devworld.CheckAddress(f.listen); err != nil {
		return usage("--listen: %w", err)
	}
	keys, err := f.keys(ctx)
	if err != nil {
		return err
	}
	world := sandbox.World{Issuer: f.issuer, Keys: keys, Now: time.Now, Random: rand.Reader}
	host, port, err := net.SplitHostPort(f.listen)
	if err != nil {
		return usage("--listen: %w", err)
	}
	first, err := strconv.Atoi(port)
	if err != nil || first < 0 || first+len(clouds.Names()) > 1<<16 {
		return usage("--listen: %q is no port with room for %d", port, len(clouds.Names()))
	}
	o := clouds.Options{
		Assertions: world, Cluster: world, Workload: either(f.subject, devworld.Workload), Subject: f.subject,
		OCISecret: exchange.NewSecret(rand.Text()), Host: host, First: first,
	}
	c, err := clouds.Open(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	ready, err := f.write(c, o.OCISecret)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- c.Serve() }()
	if err := f.tell(cmd.OutOrStdout(), ready); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// keys gives the published keys of the issuer, as of now.
func (f *sandboxFlags) keys(ctx context.Context) (func() []byte, error) {
	if f.issuer == "" {
		return nil, usage("say whose tokens to trust: --issuer URL")
	}
	if f.jwks != "" {
		if _, err := readKeySet(f.jwks); err != nil {
			return nil, err
		}
		return func() []byte {
			text, err := readKeySet(f.jwks)
			if err != nil {
				return nil // as if the issuer could not be reached
			}
			return text
		}, nil
	}
	d, err := discover(ctx, f.issuer)
	if err != nil {
		return nil, err
	}
	return d.keys, nil
}

// write puts what clients need into the data folder.
func (f *sandboxFlags) write(c *clouds.Clouds, secret exchange.Secret) (sandboxReady, error) {
	if err := os.MkdirAll(f.data, 0o700); err != nil {
		return sandboxReady{}, fmt.Errorf("making the data folder: %w", err)
	}
	at := func(name string) string { return absolute(filepath.Join(f.data, name)) }
	ready := sandboxReady{
		Issuer: f.issuer, CAFile: at("ca.pem"), OCISecret: at("oci-client.secret"), EnvFile: at("clouds.env"), Environment: map[string]string{},
	}
	variables := c.Environment(ready.CAFile)
	for _, v := range variables {
		ready.Environment[v.Name] = v.Value
	}
	for _, name := range clouds.Names() {
		one := sandboxCloud{Name: name, Endpoint: c.Endpoint(name), Audience: c.Audience(name), Subject: c.Subject(name), Settings: map[string]string{}}
		for _, s := range c.Settings(name) {
			one.Settings[s.Name] = s.Value
		}
		ready.Clouds = append(ready.Clouds, one)
	}
	return ready, errors.Join(
		os.WriteFile(ready.CAFile, c.Authority(), 0o644),
		os.WriteFile(ready.EnvFile, []byte(environmentFile(variables)), 0o644),
		os.WriteFile(ready.OCISecret, []byte(secret.Reveal()+"\n"), 0o600),
	)
}

func (f *sandboxFlags) tell(w io.Writer, ready sandboxReady) error {
	text, err := json.MarshalIndent(ready, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding what is ready: %w", err)
	}
	if f.output == "json" {
		_, err = fmt.Fprintf(w, "%s\n", text)
	} else {
		err = ready.print(w)
	}
	if err != nil || f.readyFile == "" {
		return err
	}
	draft := f.readyFile + ".draft" // who sees the file reads all of it
	if err := os.WriteFile(draft, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the ready file: %w", err)
	}
	return os.Rename(draft, f.readyFile)
}

// print writes the table for people.
func (r sandboxReady) print(w io.Writer) error {
	fmt.Fprintf(w, "The providers trust %s. Ctrl-C stops them.\n\n", clean(r.Issuer))
	var rows, settings [][]string
	for _, c := range r.Clouds {
		rows = append(rows, []string{c.Name, c.Endpoint, c.Audience, c.Subject})
		for _, name := range slices.Sorted(maps.Keys(c.Settings)) {
			if value := c.Settings[name]; value != c.Endpoint {
				settings = append(settings, []string{c.Name, name, value})
			}
		}
	}
	if err := table(w, []string{"PROVIDER", "ENDPOINT", "AUDIENCE (aud)", "SUBJECT (sub)"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := table(w, []string{"PROVIDER", "SETTING", "VALUE"}, settings); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join([]string{
		"Trust the certificates: " + r.CAFile, "Variables for SDKs:     . " + quote(r.EnvFile), "OCI's client secret:    " + r.OCISecret,
	}, "\n"))
	return err
}
