package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/MakeNowJust/heredoc/v2"
	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/config"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/run"
)

// execute runs one command line and returns its exit status.
func execute(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	return statusOf(root.ExecuteContext(ctx), os.Stderr)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "cambio-agent",
		Short: "Credentials for programs that know nothing of Cambio",
		Long: `The agent exchanges the token that a workload has already, at a Cambio server, and
hands what comes of it to programs in the way that each knows: as the credential
endpoint of a cloud's SDK, as a file, as a header on a request, as a variable.

It is told what to do by one file (--config), by variables, or by both: what the
file leaves out is taken from CAMBIO_URL, CAMBIO_TOKEN_FILE, CAMBIO_TARGET and
their like.`,
		Example: examples(`
			# Beside a workload: doors, files and proxy of a file
			cambio-agent run --config cambio-agent.yaml

			# Start a program whose AWS SDK gets its credentials here
			cambio-agent exec --aws bedrock -- python app.py

			# One credential, for a script
			cambio-agent token gpt`),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	// A group is runnable only to say that it is not.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(),
		"{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	root.AddCommand(newRun(), newExec(), newProxy(), newToken(), newCredentialProcess(), newStatus(), newVersion())
	finish(root)
	return root
}

// group is the body of a command that has others below it and does nothing itself.
func group(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unknown command %q for %q", args[0], cmd.CommandPath())
	}
	fmt.Fprint(cmd.ErrOrStderr(), cmd.UsageString())
	return &failure{status: statusUsage}
}

// finish gives every command what all have in common: errors with a status.
func finish(cmd *cobra.Command) {
	if cmd.RunE == nil {
		cmd.Args, cmd.RunE = cobra.ArbitraryArgs, group
	}
	body := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return asFailure(body(cmd, args)) }
	cmd.DisableAutoGenTag = true
	cmd.Flags().SortFlags = false
	for _, child := range cmd.Commands() {
		finish(child)
	}
}

// examples lays out a command's examples, each below a # line that says what it is for.
func examples(text string) string {
	lines := strings.Split(strings.TrimSpace(heredoc.Doc(text)), "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = "  " + line
		}
	}
	return strings.Join(lines, "\n")
}

// common are the flags of every command that reads the configuration.
type common struct{ file, level string }

func (c *common) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.file, "config", "", "the configuration; without it CAMBIO_AGENT_CONFIG, or the environment alone")
	cmd.Flags().StringVar(&c.level, "log-level", "", "debug, info, warn or error")
}

// options are those of an agent by the common flags; level is that of its log where no
// flag says one.
func (c *common) options(cmd *cobra.Command, level string) (run.Options, error) {
	if c.level != "" {
		level = c.level
	}
	log, err := newLogger(cmd.ErrOrStderr(), level)
	if err != nil {
		return run.Options{}, err
	}
	file := c.file
	if file == "" {
		file = os.Getenv("CAMBIO_AGENT_CONFIG")
	}
	return run.Options{
		File: file, Env: config.Environment(os.Getenv), Log: log, Version: version(), Drain: drain, Poll: 2 * time.Second,
	}, nil
}

// drain is how long requests that are under way may go on when the agent stops: less
// than the thirty seconds that Kubernetes gives a pod.
const drain = 25 * time.Second
