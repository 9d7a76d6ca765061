package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/clouds"
	"github.com/cambio-sts/cambio/cmd/cambio/config"
	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange/outbound"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider/all"
	"github.com/cambio-sts/cambio/exchange/subject"
)

// defaultConfig is the file that commands read where none is named and it exists.
const defaultConfig = "cambio.yaml"

func newPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check, explain and test a policy folder, without a server",
		Example: examples(`
			# Find everything that is wrong with a policy
			cambio policy check --policy ./policy

			# Ask why a subject may not have a target
			cambio policy explain --policy ./policy --subject k8s:prod:llm:gateway --target bedrock

			# Run the cases that stand beside the policy
			cambio policy test --policy ./policy`),
	}
	cmd.AddCommand(newPolicyCheck(), newPolicyExplain(), newPolicyTest(), newPolicySchema())
	return cmd
}

// policyFlags say which policy a command is about.
type policyFlags struct {
	dir, config string
}

func (f *policyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "policy", "", "the policy folder (default: ./policy, else the sample policy of the cambio dev in ./cambio-dev)")
	cmd.Flags().StringVar(&f.config, "config", "", "the cambio.yaml whose secrets the policy may name (default: ./cambio.yaml, if there is one)")
}

// loaded is a policy read from a folder, and the verifier for its trusts.
type loaded struct {
	dir      string
	issuer   string // of cambio.yaml, or one that no policy names
	files    fs.FS
	revision *policy.Revision
	verifier *subject.Verifier
}

// folder finds the policy folder.
func (f *policyFlags) folder() (string, error) {
	candidates := []string{"policy", filepath.Join(defaultData, "policy")}
	if f.dir != "" {
		candidates = []string{f.dir}
	}
	for _, dir := range candidates {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", fmt.Errorf("there is no policy folder at %s: name one with --policy", strings.Join(candidates, " or "))
}

// load reads and compiles the policy as a server would.
func (f *policyFlags) load() (*loaded, error) {
	dir, err := f.folder()
	if err != nil {
		return nil, err
	}
	settings := config.Outline{}
	file := f.config
	if _, err := os.Stat(defaultConfig); file == "" && err == nil {
		file = defaultConfig
	}
	if file != "" {
		if settings, err = config.Peek(file, os.Environ()); err != nil {
			return nil, err
		}
	} else if _, err := devworld.Open(filepath.Dir(filepath.Clean(dir))); err == nil {
		settings.TargetSecrets = []string{clouds.OCISecretName} // what dev lists
	}
	l := &loaded{dir: dir, issuer: cmp.Or(settings.Issuer, "https://cambio.invalid"), files: os.DirFS(dir)}
	l.verifier = subject.New(subject.Options{
		Client: func(caFile string) (*http.Client, error) {
			return outbound.Client(outbound.Options{Allow: []string{"*"}, CAFile: caFile, AllowLoopback: true})
		},
		OwnIssuers: settings.OwnIssuers(),
		Now:        time.Now,
	})
	l.revision, err = policy.Load(l.files, policy.Options{
		Providers: all.Registry(), SecretNames: settings.TargetSecrets, CheckTrusts: l.verifier.Check, Dir: dir,
	})
	return l, err
}

// outputFlag is --output for commands that speak to people or to programs.
func outputFlag(cmd *cobra.Command, output *string, people string) {
	cmd.Flags().StringVar(output, "output", people, people+", or json")
}

func checkOutput(output string, allowed ...string) error {
	if !slices.Contains(allowed, output) {
		return usage("--output is %s, not %q", strings.Join(allowed, " or "), output)
	}
	return nil
}

func newPolicyCheck() *cobra.Command {
	var f policyFlags
	var output string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find everything that is wrong with a policy",
		Long: `Find everything that is wrong with a policy, in one run, as a server would at its
start. Key files that trusts and clients name are read, save those outside the
policy folder that are not on this machine.`,
		Example: examples(`
			# Check the policy in ./policy, or the one of cambio dev
			cambio policy check

			# Check before a commit, for a program
			cambio policy check --policy ./policy --config cambio.yaml --output json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output, "text", "json"); err != nil {
				return err
			}
			l, err := f.load()
			if err == nil {
				if bad := l.checkKeyFiles(cmd.Context()); len(bad) > 0 {
					err = bad
				}
			}
			var faults policy.Faults
			if err != nil && !errors.As(err, &faults) {
				return err
			}
			if output == "json" {
				report := struct {
					OK       bool          `json:"ok"`
					Revision string        `json:"revision,omitempty"`
					Faults   policy.Faults `json:"faults"`
				}{OK: err == nil, Faults: append(policy.Faults{}, faults...)}
				if err == nil {
					report.Revision = l.revision.Hash()
				}
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(report); err != nil {
					return err
				}
				if !report.OK {
					return errSaid
				}
				return nil
			}
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), faults.Error())
				return fmt.Errorf("%s: %s", l.dir, countOf(len(faults), "fault"))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good, revision %s\n", l.dir, l.revision.Hash())
			return err
		},
	}
	f.add(cmd)
	outputFlag(cmd, &output, "text")
	return cmd
}

func newPolicyTest() *cobra.Command {
	var f policyFlags
	var output string
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Run the *_test.yaml cases beside a policy",
		Example: examples(`
			# Run the cases of the policy in ./policy, or of cambio dev
			cambio policy test

			# Run them in CI, one JSON object a case
			cambio policy test --policy ./policy --output json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			l, err := f.load()
			if err != nil {
				return err
			}
			results, err := policy.RunTests(l.files, l.revision)
			if err != nil {
				return err
			}
			if len(results) == 0 {
				return fmt.Errorf("%s holds no *_test.yaml with cases", l.dir)
			}
			failed := 0
			encoder := json.NewEncoder(cmd.OutOrStdout())
			var rows [][]string
			for _, r := range results {
				verdict := "ok"
				if !r.Passed {
					verdict = "FAILED"
					failed++
				}
				rows = append(rows, []string{verdict, fmt.Sprintf("%s:%d", r.File, r.Line), r.Name, r.Message})
				if output == "json" {
					if err := encoder.Encode(r); err != nil {
						return err
					}
				}
			}
			if output == "table" {
				if err := table(cmd.OutOrStdout(), []string{"RESULT", "CASE", "NAME", "WANTED AND CAME"}, rows); err != nil {
					return err
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d cases failed", failed, len(results))
			}
			return nil
		},
	}
	f.add(cmd)
	outputFlag(cmd, &output, "table")
	return cmd
}

func newPolicySchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a policy file, for editors",
		Example: examples(`
			# Let an editor complete policy files: name the file in its YAML settings
			cambio policy schema > policy.schema.json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema, err := policy.Schema(all.Registry())
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(append([]byte(strings.TrimRight(string(schema), "\n")), '\n'))
			return err
		},
	}
}
