package main

import (
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/caller"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/config"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/format"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
)

// kinds are the formats by the names that users know them by.
var kinds = map[string]string{
	"token": format.Plain, "json": format.JSON, "kubectl": format.ExecCredential, "aws": format.CredentialProcess,
	"dotenv": format.Dotenv, "env": format.Shell,
}

// lives is how long a credential lives at least that a command hands out.
const lives = time.Minute

func newToken() *cobra.Command {
	var flags common
	var kind string
	var options format.Options
	var place format.Place
	cmd := &cobra.Command{
		Use:   "token [TARGET]",
		Short: "Write a target's credential to standard output",
		Long: `Exchanges for TARGET and writes what comes of it. Without TARGET it is the first of
CAMBIO_TARGET, or the only one of the configuration. Nothing is kept on disk, so each
call is an exchange: who asks often reads a file that "run" keeps fresh.

As a helper of git or docker it takes the helper's action after TARGET, and answers
for --host alone.`,
		Example: examples(`
			# A bearer token for a script
			curl -H "Authorization: Bearer $(cambio-agent token gpt)" https://api.openai.com/v1/models

			# Variables for this shell
			eval "$(cambio-agent token bedrock --format env)"

			# A user of a kubeconfig: exec: {apiVersion: client.authentication.k8s.io/v1, command: cambio-agent, args: …}
			cambio-agent token cluster --format kubectl

			# A credential helper of git
			git config credential.https://github.com.helper '!cambio-agent token github --format git --host github.com'

			# A credential helper of docker: this line in an executable docker-credential-cambio
			exec cambio-agent token registry --format docker --host registry.example "$@"`),
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			helper := kind == "git" || kind == "docker"
			switch {
			case helper && len(args) != 2:
				return usage("as a helper of %s it takes TARGET and the action, such as get", kind)
			case !helper && len(args) == 2:
				return usage("it takes one TARGET; an action is for --format git and docker")
			case !helper && (place.Host != "" || place.Path != "" || place.Username != ""):
				return usage("--host, --path and --username are for --format git and docker")
			}
			if !helper {
				to, ok := kinds[kind]
				if !ok {
					return usage("--format is one of %s, docker and git, not %q", strings.Join(slices.Sorted(maps.Keys(kinds)), ", "), kind)
				}
				return flags.write(cmd, args, to, options)
			}
			place.Target = args[0]
			if err := place.Check(); err != nil {
				return usage("--%s", err)
			}
			return flags.help(cmd, kind, args[1], place)
		},
	}
	f := cmd.Flags()
	f.StringVar(&kind, "format", "token", "token, json, kubectl, aws, env, dotenv, docker or git")
	f.StringVar(&options.Field, "field", "", "this field of a credential that is JSON; /a/b for one within")
	f.StringVar(&options.Variable, "variable", "", "name of the one variable that env and dotenv set")
	f.StringVar(&place.Host, "host", "", "git and docker: the host to answer for")
	f.StringVar(&place.Path, "path", "", "git: the repositories to answer for, such as org or org/repo")
	f.StringVar(&place.Username, "username", "", "git and docker: the user's name that goes with the token")
	flags.add(cmd)
	return cmd
}

func newCredentialProcess() *cobra.Command {
	var flags common
	cmd := &cobra.Command{
		Use:   "credential-process [TARGET]",
		Short: "Answer as a credential_process of the AWS SDKs",
		Long: `Exchanges for TARGET and writes the keys as JSON. SDKs keep them until they end.
Nothing is kept on disk; the AWS CLI asks with each command.`,
		Example: examples(`
			# In ~/.aws/config, below a [profile …]:
			#   credential_process = cambio-agent credential-process bedrock
			cambio-agent credential-process bedrock`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.write(cmd, args, format.CredentialProcess, format.Options{})
		},
	}
	flags.add(cmd)
	return cmd
}

// write exchanges for one target and writes what comes of it.
func (c *common) write(cmd *cobra.Command, args []string, kind string, options format.Options) error {
	if err := options.Check(kind); err != nil {
		return usage("%s", err)
	}
	if kind == format.ExecCredential {
		info, err := format.ParseExecInfo(os.Getenv("KUBERNETES_EXEC_INFO"))
		if err != nil {
			return err
		}
		options.Exec = info
	}
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	get, only, err := c.getter(cmd, name)
	if err != nil {
		return err
	}
	if name == "" {
		if name = only; name == "" {
			return usage("name the target")
		}
	}
	credential, err := get(cmd.Context(), name)
	if err != nil {
		return err
	}
	text, err := format.Write(kind, credential, options)
	if err != nil {
		return err
	}
	if kind == format.Plain && isTerminal(cmd.OutOrStdout()) {
		text = append(text, '\n')
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// help answers git or docker.
func (c *common) help(cmd *cobra.Command, kind, action string, place format.Place) error {
	get, _, err := c.getter(cmd, place.Target)
	if err != nil {
		return err
	}
	answer := format.Git
	if kind == "docker" {
		answer = format.Docker
	}
	text, err := answer(cmd.Context(), action, io.LimitReader(cmd.InOrStdin(), 1<<20), []format.Place{place}, get)
	if _, failed := cmd.OutOrStdout().Write(text); failed != nil && err == nil {
		err = failed
	}
	return err
}

// getter asks the server for targets of the configuration, and for name. only is the
// target that is meant where none is named.
func (c *common) getter(cmd *cobra.Command, name string) (get format.Get, only string, err error) {
	options, err := c.options(cmd, "warn")
	if err != nil {
		return nil, "", err
	}
	settings, err := config.Read(options.File, options.Env, func(c *config.Config) error {
		c.AddTarget(name)
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	client, err := caller.Connect(settings.URL, settings.CAFile, settings.Identity, settings.Client)
	if err != nil {
		return nil, "", err
	}
	if only, _, _ = strings.Cut(os.Getenv("CAMBIO_TARGET"), ","); only == "" && len(settings.Targets) == 1 {
		for only = range settings.Targets {
		}
	}
	targets := target.New(client, settings.Targets)
	return func(ctx context.Context, name string) (*cambio.Credential, error) {
		source, err := targets.Source(name)
		if err != nil {
			return nil, err
		}
		return source.AtLeast(ctx, lives)
	}, strings.TrimSpace(only), nil
}
