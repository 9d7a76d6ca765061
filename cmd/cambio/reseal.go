package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/exchange/signing"
)

func newKeysReseal() *cobra.Command {
	var file string
	var dry bool
	cmd := &cobra.Command{
		Use:   "reseal",
		Short: "Seal under seal.key what other keys sealed",
		Long: `Seal under seal.key whatever in the database a key of seal.old_keys sealed: the
signing keys, what revokes leases, and what signs in sessions. Replicas may serve
meanwhile, if every one of them has both keys. It goes batch by batch; when it is
interrupted, run it again. Afterwards nothing needs seal.old_keys any more.

What does not open under any key is left as it is and named, and the exit status
is 1.`,
		Example: examples(`
			# How much there is to do
			cambio keys reseal --config cambio.yaml --dry-run

			# Do it
			cambio keys reseal --config cambio.yaml`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			v, err := openVault(cmd, file, "cambio keys reseal")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, v.store.Close()) }()
			return v.reseal(cmd, dry)
		},
	}
	addConfig(cmd, &file)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "count what there is to do, and change nothing")
	return cmd
}

// resealed is what one round came to.
type resealed struct{ keys, leases, sessions exchange.Resealed }

func (r resealed) done() int   { return r.keys.Done + r.leases.Done + r.sessions.Done }
func (r resealed) faulty() int { return r.keys.Faulty + r.leases.Faulty + r.sessions.Faulty }

func (r resealed) String() string {
	return fmt.Sprintf("%d signing keys, %d leases, %d signing sessions", r.keys.Done, r.leases.Done, r.sessions.Done)
}

// resealRounds bounds how often what replicas sealed meanwhile is looked for: one
// that still seals under the old key would keep this going for ever.
const resealRounds = 5

func (v *vault) reseal(cmd *cobra.Command, dry bool) error {
	ctx, id := cmd.Context(), v.sealer.KeyID()
	found, err := v.round(ctx, io.Discard, true)
	if err != nil {
		return databaseError("counting what is sealed", err)
	}
	if dry {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "to be resealed under %s (seal.key): %s\n", id, found); err != nil {
			return err
		}
		return v.faults(cmd, found)
	}
	var total resealed
	if found.done() > 0 {
		if err := v.record(ctx, fmt.Sprintf("began to reseal %s under the sealing key %s", found, id)); err != nil {
			return err
		}
	}
	for n := 0; found.done() > 0 && n < resealRounds; n++ {
		if found, err = v.round(ctx, cmd.ErrOrStderr(), false); err != nil {
			return databaseError("resealing (what was done stays done: run it again)", err)
		}
		total.keys.Done += found.keys.Done
		total.leases.Done += found.leases.Done
		total.sessions.Done += found.sessions.Done
	}
	if total.done() > 0 {
		if err := v.record(ctx, fmt.Sprintf("resealed %s under the sealing key %s; %d were left that do not open",
			total, id, found.faulty())); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "resealed under %s (seal.key): %s\n", id, total); err != nil {
		return err
	}
	if err := v.faults(cmd, found); err != nil {
		return err
	}
	if found.done() > 0 {
		return errors.New("something still seals under another key: give every replica this seal.key, and run this again")
	}
	return nil
}

// round goes once through all that is sealed.
func (v *vault) round(ctx context.Context, progress io.Writer, dry bool) (r resealed, err error) {
	if r.keys, err = v.keeper.Reseal(ctx, dry); err != nil {
		return r, err
	}
	r.leases, err = lease.Reseal(ctx, v.store, v.sealer, dry, func(sofar exchange.Resealed) {
		fmt.Fprintf(progress, "leases resealed: %d\n", sofar.Done)
	})
	if err != nil {
		return r, err
	}
	r.sessions, err = signing.Reseal(ctx, v.store, v.sealer, dry, func(sofar exchange.Resealed) {
		fmt.Fprintf(progress, "signing sessions resealed: %d\n", sofar.Done)
	})
	return r, err
}

// faults names what does not open.
func (v *vault) faults(cmd *cobra.Command, r resealed) error {
	if r.faulty() == 0 {
		return nil
	}
	for _, err := range slices.Concat(r.keys.Faults, r.leases.Faults, r.sessions.Faults) {
		fmt.Fprintln(cmd.ErrOrStderr(), clean(err.Error()))
	}
	return fmt.Errorf("%d sealed values do not open and were left as they are", r.faulty())
}

// record puts a change into the ledger.
func (v *vault) record(ctx context.Context, says string) error {
	event, err := v.keeper.Event(v.sealer.KeyID(), says)
	if err != nil {
		return err
	}
	l := ledger.New(ledger.Options{Log: v.store, Now: time.Now})
	if err := errors.Join(l.Note(ctx, event), l.Close(context.WithoutCancel(ctx))); err != nil {
		return databaseError("recording the change", err)
	}
	return nil
}
