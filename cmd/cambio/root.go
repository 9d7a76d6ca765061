package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
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
	root.InitDefaultCompletionCmd()
	root.SetHelpCommand(newHelp())
	finish(root)
	return root
}

// newHelp is cobra's help command, save that it knows what it does not know.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil || of.HasAvailableSubCommands() && len(rest) > 0 {
				return unknownCommand(of, rest[0])
			}
			return of.Help()
		},
	}
}

// group is the body of a command that has others below it and does nothing
// itself.
func group(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	fmt.Fprint(cmd.ErrOrStderr(), cmd.UsageString())
	return &failure{status: statusUsage}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return usage("unknown command %q for %q; did you mean %s?", name, cmd.CommandPath(), strings.Join(near, " or "))
	}
	return usage("unknown command %q for %q", name, cmd.CommandPath())
}

// badValue is how the flag library refuses a value.
var badValue = regexp.MustCompile(`^invalid argument (".*") for "--([a-z-]+)" flag: `)

// flagError says what a flag takes, where the library only says what it could not
// parse.
func flagError(cmd *cobra.Command, err error) error {
	if m := badValue.FindStringSubmatch(err.Error()); m != nil {
		takes := map[string]string{"int": "a whole number", "duration": "a time such as 90s or 10m", "bool": "true or false"}
		if what, ok := takes[cmd.Flag(m[2]).Value.Type()]; ok {
			return usage("--%s is %s, not %s", m[2], what, m[1])
		}
	}
	return err
}

// finish gives every command what all have in common: errors with a status, which
// say how the command is written.
func finish(cmd *cobra.Command) {
	if cmd.RunE == nil {
		cmd.Args, cmd.RunE = cobra.ArbitraryArgs, group
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			switch {
			case check(cmd, args) == nil:
				return nil
			case len(args) == 0:
				return usage("something is missing: write %s", cmd.UseLine())
			}
			return usage("%q is too much: write %s", args[len(args)-1], cmd.UseLine())
		}
	}
	cmd.SetFlagErrorFunc(flagError)
	body := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return asFailure(body(cmd, args)) }
	cmd.DisableAutoGenTag = true
	cmd.Flags().SortFlags = false
	for _, child := range cmd.Commands() {
		finish(child)
	}
}
