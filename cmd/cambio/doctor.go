package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/issuer"
)

// doctorPath is where a cambio dev examines itself: its database serves one process.
const doctorPath = "/dev/doctor"

// maxDoctorForm bounds the names of targets, in bytes.
const maxDoctorForm = 64 << 10

type doctorFlags struct {
	config, data, output string
}

func newDoctor() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [TARGET…]",
		Short: "Ask each target's provider whether it is set up",
		Long: `Ask the provider of each target whether its side is set up, with the keys, the
secrets and the way out that the server has, and say what to change. Nothing is
handed out, and no policy is put in force: a policy can be examined before it is.

With --config it opens the server's database, for its signing keys, and needs no
server to run; but clouds fetch the published keys, so that those must be reachable.
SQLite serves one process: stop the server first. Otherwise the cambio dev that runs
from --data examines itself.`,
		Example: examples(`
			# Examine the targets of the cambio dev in ./cambio-dev
			cambio doctor

			# Examine two targets before a policy goes out
			cambio doctor --config /etc/cambio/cambio.yaml bedrock vertex

			# The same for a program, which can rely on the exit status: 1 where one fails
			cambio doctor --config /etc/cambio/cambio.yaml --output json`),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "the server's configuration (default: ./cambio.yaml, if there is one and --data is not given)")
	flags.StringVar(&f.data, "data", defaultData, "data folder of a running cambio dev")
	outputFlag(cmd, &f.output, "table")
	return cmd
}

func (f *doctorFlags) run(cmd *cobra.Command, targets []string) error {
	if err := checkOutput(f.output, "table", "json"); err != nil {
		return err
	}
	byData := cmd.Flags().Changed("data")
	if byData && f.config != "" {
		return usage("choose one: --config or --data")
	}
	file := f.config
	if _, err := os.Stat(defaultConfig); file == "" && !byData && err == nil {
		file = defaultConfig
	}
	examine := f.dev
	if file != "" {
		examine = func(cmd *cobra.Command, targets []string) ([]finding, error) {
			return examineConfig(cmd, file, targets)
		}
	}
	found, err := examine(cmd, targets)
	if err != nil {
		return err
	}
	if err := f.print(cmd.OutOrStdout(), found); err != nil {
		return err
	}
	for _, one := range found {
		if one.Result == resultFailed {
			return errSaid
		}
	}
	return nil
}

// progress tells the person at the terminal of each check as it ends.
func progress(w io.Writer, all int) func(finding) {
	n := 0
	return func(one finding) {
		n++
		fmt.Fprintf(w, "%d of %d: %s: %s\n", n, all, clean(one.Target), one.Result)
	}
}

// examineConfig opens what a server would, save that it serves nothing and puts no
// policy in force.
func examineConfig(cmd *cobra.Command, file string, names []string) (_ []finding, err error) {
	ctx := cmd.Context()
	c, err := loadConfig(cmd, file)
	if err != nil {
		return nil, err
	}
	l, err := (&policyFlags{dir: c.Policy.Dir, config: file}).load()
	if err == nil {
		err = errors.Join(refuseDevTrusts(l.revision.Trusts())...)
	}
	if err != nil {
		return nil, fmt.Errorf("the policy in %s is at fault:\n%w", c.Policy.Dir, err)
	}
	targets, err := chosen(l.revision, names)
	if err != nil {
		return nil, usage("%w", err)
	}
	h, i, err := openClinic(ctx, cmd.ErrOrStderr(), c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.store.Close()) }()
	clinic, err := h.newClinic(i)
	if err != nil {
		return nil, err
	}
	return clinic.examine(ctx, targets, progress(cmd.ErrOrStderr(), len(targets))), nil
}

// openClinic opens the database and the signing keys.
func openClinic(ctx context.Context, stderr io.Writer, c *config.Config) (*house, *issuer.Issuer, error) {
	key, err := c.SealKey()
	if err != nil {
		return nil, nil, err
	}
	old, err := c.OldSealKeys()
	if err != nil {
		return nil, nil, err
	}
	sealer, err := exchange.NewSealer(rand.Reader, key, old...)
	if err != nil {
		return nil, nil, fmt.Errorf("seal.key: %w", err)
	}
	s, err := openAlone(ctx, c, newLogger(stderr, config.Log{Level: "warn", Format: "text"}))
	if err != nil {
		return nil, nil, err
	}
	i, err := issuer.Open(ctx, issuer.Options{
		URL: c.Issuer, Keys: s, Sealer: sealer, Now: time.Now, Random: rand.Reader, AccessAlgorithm: c.Keys.Access,
		FederationAlgorithm: c.Keys.Federation, Rotate: c.Keys.Rotate, StandIns: c.Outbound.StandIns,
		Report: func(err error) { fmt.Fprintln(stderr, "cambio: warning: "+clean(err.Error())) },
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening the issuer: %w", err), s.Close())
	}
	return &house{config: c, store: s}, i, nil
}

// dev asks the cambio dev that runs from the data folder.
func (f *doctorFlags) dev(cmd *cobra.Command, names []string) ([]finding, error) {
	ready, err := devworld.FindReady(f.data)
	if errors.Is(err, devworld.ErrNoData) {
		return nil, unreachable(fmt.Errorf("no cambio dev runs from %s: start it with `cambio dev`, or name a configuration with --config", f.data))
	}
	if err != nil {
		return nil, err
	}
	s, err := atDev(ready, f.data)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "the cambio dev in %s asks its providers\n", clean(filepath.Clean(f.data)))
	a, err := s.ask(cmd.Context(), http.MethodPost, doctorPath, nil, url.Values{"target": names})
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, s.refused(a)
	}
	var said struct {
		Findings []finding `json:"findings"`
	}
	if err := json.Unmarshal(a.body, &said); err != nil {
		return nil, fmt.Errorf("%s answered something else than findings: is it this version of cambio dev?", s.base)
	}
	return said.Findings, nil
}

// serveDoctor examines a running dev: POST with the targets as `target`.
func (h *house) serveDoctor(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code, description string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(refusal{Code: code, Description: description})
	}
	if r.Method != http.MethodPost {
		refuse(http.StatusMethodNotAllowed, "invalid_request", "POST is expected here")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxDoctorForm)
	if err := r.ParseForm(); err != nil {
		refuse(http.StatusBadRequest, "invalid_request", "a form is expected here")
		return
	}
	targets, err := chosen(h.policies.Revision(), r.PostForm["target"])
	if err != nil {
		refuse(http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	clinic, err := h.newClinic(h.issuer)
	if err != nil {
		refuse(http.StatusInternalServerError, "server_error", "the way out cannot be opened")
		return
	}
	found := clinic.examine(r.Context(), targets, func(finding) {})
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"findings": found})
}

// print writes the findings.
func (f *doctorFlags) print(w io.Writer, found []finding) error {
	if f.output == "json" {
		for _, one := range found {
			if err := json.NewEncoder(w).Encode(one); err != nil {
				return err
			}
		}
		return nil
	}
	cells := make([][]string, 0, len(found))
	for _, one := range found {
		cells = append(cells, []string{one.Target, one.Provider, one.Result, strings.Trim(one.Change+": "+one.Cause, ": ")})
	}
	return table(w, []string{"TARGET", "PROVIDER", "RESULT", "WHAT TO CHANGE"}, cells)
}
