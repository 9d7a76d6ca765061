package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/config"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/exec"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/file"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/run"
)

// wants are the flags that say what a command is started with.
type wants struct {
	aws, azure, gcp, oci, ibm string
	vault                     []string
	proxies, env, files       []string
}

func newExec() *cobra.Command {
	var flags common
	var w wants
	cmd := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARGUMENT]...",
		Short: "Start a command with its credentials at hand",
		Long: `Starts COMMAND with an environment by which its SDKs find their credentials here: on
free ports of loopback, with a secret of this start. What would win over that, such
as AWS_ACCESS_KEY_ID, is not handed on, and a line on standard error says so.
Without a flag that names a target the doors, files and routes of the configuration
are opened, on free ports likewise.

Signals go on to COMMAND. The exit status is its own: 128 and the number of the
signal that ended it, 127 if there is no such command, 126 if it cannot be run. As
the first process of a container it buries orphans.`,
		Example: examples(`
			# boto3, the AWS CLI and every other SDK of AWS
			cambio-agent exec --aws bedrock -- aws sts get-caller-identity

			# Two clouds, and the official OpenAI client, which never sees the key
			cambio-agent exec --azure azure-openai --gcp vertex --proxy openai=gpt -- python app.py

			# A token that stands in a variable, as old as the command
			cambio-agent exec --env GITHUB_TOKEN=github -- gh pr list

			# As the entry point of a container, by variables alone
			CAMBIO_URL=https://cambio.example CAMBIO_AWS_TARGET=bedrock cambio-agent exec -- ./app`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("name the command to start, after --")
			}
			if cmd.ArgsLenAtDash() != 0 {
				return usage("put -- before the command, so that its flags stay its own")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.options(cmd, "warn")
			if err != nil {
				return err
			}
			variables := map[string]string{}
			c, err := config.Read(options.File, options.Env, func(c *config.Config) error {
				return w.amend(c, options.Env, variables)
			})
			if err != nil {
				return err
			}
			status, err := run.Exec(cmd.Context(), c, options, run.Start{
				Command:   exec.Command{Args: args, Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr},
				Variables: variables,
				Notice:    func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), "cambio-agent: "+line) },
			})
			var not *exec.NotRunError
			switch {
			case errors.As(err, &not):
				return &failure{status: not.Status, err: err}
			case err != nil:
				return err
			case status != 0:
				return &failure{status: status}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&w.aws, "aws", "", "target for the SDKs of AWS")
	f.StringVar(&w.azure, "azure", "", "target for the SDKs of Azure")
	f.StringVar(&w.gcp, "gcp", "", "target for Google's SDKs; the project is CAMBIO_GCP_PROJECT or GOOGLE_CLOUD_PROJECT")
	f.StringVar(&w.oci, "oci", "", "target for Oracle's SDKs")
	f.StringVar(&w.ibm, "ibm", "", "target for IBM's SDKs; the service is CAMBIO_IBM_SERVICE or WATSONX")
	f.StringSliceVar(&w.vault, "vault", nil, "targets that Vault's clients may read, at secret/NAME")
	f.StringArrayVar(&w.proxies, "proxy", nil, "PROVIDER=TARGET: requests to the provider get the credential on their way")
	f.StringArrayVar(&w.env, "env", nil, "NAME=TARGET: the credential in a variable")
	f.StringArrayVar(&w.files, "file", nil, "PATH=TARGET: the credential in a file, kept fresh")
	flags.add(cmd)
	return cmd
}

// amend makes the configuration that of one command. Where flags name targets they say
// all there is.
func (w *wants) amend(c *config.Config, env config.Environment, variables map[string]string) error {
	if w.aws+w.azure+w.gcp+w.oci+w.ibm != "" || len(w.vault)+len(w.proxies)+len(w.env)+len(w.files) > 0 {
		routes := c.Proxy.Routes
		c.Doors, c.Files, c.Proxy = door.Settings{}, nil, proxy.Settings{}
		if err := w.open(c, env, routes, variables); err != nil {
			return err
		}
	}
	// Its place is set later, in a folder of this start; the check wants one now.
	c.Doors.SecretFile, c.Doors.SecretFrom = "/", ""
	return nil
}

func (w *wants) open(c *config.Config, env config.Environment, routes []proxy.Route, variables map[string]string) error {
	d := &c.Doors
	for _, name := range append([]string{w.aws, w.azure, w.gcp, w.oci, w.ibm}, w.vault...) {
		c.AddTarget(name)
	}
	if w.aws != "" {
		d.AWS = &door.AWS{Target: w.aws}
	}
	if w.azure != "" {
		d.Azure = &door.Azure{Target: w.azure}
	}
	if w.gcp != "" {
		d.GCE = env.GCE(w.gcp)
	}
	if w.oci != "" {
		d.OCI = &door.OCI{Files: &door.OCIFiles{Target: w.oci, Dir: "/"}}
	}
	if w.ibm != "" {
		d.IBM = env.IBM(w.ibm)
	}
	if len(w.vault) > 0 {
		d.Vault = &door.Vault{Targets: w.vault}
	}
	for _, text := range w.proxies {
		provider, target, err := pair("proxy", "PROVIDER=TARGET", text)
		if err != nil {
			return err
		}
		c.AddTarget(target)
		c.Proxy.Routes = append(c.Proxy.Routes, routeOf(routes, provider, target))
	}
	for _, text := range w.env {
		name, target, err := pair("env", "NAME=TARGET", text)
		if err != nil {
			return err
		}
		c.AddTarget(target)
		variables[name] = target
	}
	for _, text := range w.files {
		path, target, err := pair("file", "PATH=TARGET", text)
		if err != nil {
			return err
		}
		c.AddTarget(target)
		c.Files = append(c.Files, file.Entry{Path: path, Target: target})
	}
	return nil
}

// routeOf is the route of the configuration to a provider, if there is one, with the
// target that was named.
func routeOf(routes []proxy.Route, provider, target string) proxy.Route {
	for _, route := range routes {
		if route.Provider == provider {
			route.Target = target
			return route
		}
	}
	return proxy.Route{Provider: provider, Target: target}
}

// pair reads A=B; the last = divides, for paths may hold one.
func pair(flag, form, text string) (string, string, error) {
	i := strings.LastIndexByte(text, '=')
	if i < 1 || i == len(text)-1 {
		return "", "", usage("--%s is %s, not %q", flag, form, text)
	}
	return text[:i], text[i+1:], nil
}
