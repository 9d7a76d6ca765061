package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// run executes one command line and returns its exit status.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	return statusOf(root.ExecuteContext(ctx), os.Stderr)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "cambio",
		Short: "A bureau de change for identities",
		Long: `Cambio takes a token that a workload or a person has already and, where policy
allows it, gives a short-lived credential for somewhere else. Every exchange is
in its ledger before the credential leaves.`,
		Example: examples(`
			# Start everything on this machine, with a sample policy
			cambio dev

			# Exchange a development token
			cambio token --trust cluster --namespace agents --service-account assistant |
			  cambio exchange --target github-mcp --subject-token-file -

			# See what happened
			cambio audit list`),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	// A group is runnable only to say that it is not.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(),
		"{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	root.AddCommand(newDev(), newSandbox(), newServe(), newMigrate(), newToken(), newExchange(), newCall(), newDoctor(), newAudit(), newDeny(), newLease(), newKeys(), newPolicy(), newClientGroup(), newVersion())
	finish(root)
	return root
}

// group is the body of a command that has others below it and does nothing
// itself.
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
