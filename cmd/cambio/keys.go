package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/store"
	"github.com/cambio-sts/cambio/store/sqlite"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Look after the signing keys, and change the sealing key",
		Long: `Look after the signing keys, and change the key under which they are sealed.
These commands open the database of cambio.yaml themselves, as the role that
serves. On PostgreSQL they may run while replicas serve; SQLite lets one process
in, so cambio serve has to be stopped first (exit status 3 while it is not).`,
		Example: examples(`
			# Which keys there are, and under which key each is sealed
			cambio keys list --config cambio.yaml

			# Make the next key for access tokens now
			cambio keys rotate --config cambio.yaml --purpose access

			# After a change of seal.key: what seal.old_keys sealed, seal anew
			cambio keys reseal --config cambio.yaml`),
	}
	cmd.AddCommand(newKeysList(), newKeysRotate(), newKeysReseal())
	return cmd
}

// vault is the database as the keys commands open it.
type vault struct {
	store  store.Store
	sealer *exchange.Sealer
	keeper *issuer.Keeper
}

// openVault opens the database as the service does. reason is the command, for the
// ledger.
func openVault(cmd *cobra.Command, file, reason string) (*vault, error) {
	c, err := loadConfig(cmd, file)
	if err != nil {
		return nil, err
	}
	key, err := c.SealKey()
	if err != nil {
		return nil, err
	}
	old, err := c.OldSealKeys()
	if err != nil {
		return nil, err
	}
	v := &vault{}
	if v.sealer, err = exchange.NewSealer(rand.Reader, key, old...); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if v.store, err = openAlone(cmd.Context(), c, newLogger(cmd.ErrOrStderr(), c.Log)); err != nil {
		return nil, err
	}
	v.keeper, err = issuer.NewKeeper(issuer.Options{
		URL: c.Issuer, Sealer: v.sealer, Now: time.Now, Random: rand.Reader,
		AccessAlgorithm: c.Keys.Access, FederationAlgorithm: c.Keys.Federation, Rotate: c.Keys.Rotate,
	}, v.store, issuer.Note{Tenant: policy.DefaultTenant, Reason: reason, By: whoami()})
	if err != nil {
		return nil, errors.Join(err, v.store.Close())
	}
	return v, nil
}

// openAlone opens the database for a command that needs no server to run, and with
// SQLite bears none beside it.
func openAlone(ctx context.Context, c *config.Config, log *slog.Logger) (store.Store, error) {
	s, err := openStore(ctx, c, log)
	if errors.Is(err, sqlite.ErrInUse) {
		return nil, unreachable(fmt.Errorf("another process, likely cambio serve, has %s open, and SQLite lets in one: stop it, run this command, and start it again", c.Store.SQLite.Path))
	}
	return s, err
}

// whoami is the operator as this machine knows them, for the ledger.
func whoami() string {
	name, host := "uid "+fmt.Sprint(os.Getuid()), "a host without a name"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + " on " + host
}

func newKeysList() *cobra.Command {
	var file, output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the signing keys",
		Long: `List the signing keys: what each is for, since when it is published, when it
signs and until when it stays published. A key that is next waits for its time;
one that is retiring signs no more, and what it signed still verifies. One that is
refused does not open: it is neither used nor published. SEALED UNDER names the
sealing key by a short hash, and where cambio.yaml has it.`,
		Example: examples(`
			# The keys of the database that ./cambio.yaml names
			cambio keys list

			# The same for a program, one object a line
			cambio keys list --config /etc/cambio/cambio.yaml --output json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if output != "table" && output != "json" {
				return usage("--output is table or json, not %q", output)
			}
			v, err := openVault(cmd, file, "cambio keys list")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, v.store.Close()) }()
			keys, err := v.keeper.List(cmd.Context())
			if err != nil {
				return databaseError("listing the keys", err)
			}
			return printKeys(cmd, keys, output)
		},
	}
	addConfig(cmd, &file)
	cmd.Flags().StringVar(&output, "output", "table", "table, or json for one object a line")
	return cmd
}

// keyRow is a key as a program reads it.
type keyRow struct {
	Purpose     string `json:"purpose"`
	KeyID       string `json:"kid"`
	Algorithm   string `json:"algorithm"`
	State       string `json:"state"`
	Published   string `json:"publish_at"`
	Signs       string `json:"sign_at"`
	Retires     string `json:"retire_at,omitempty"`
	SealedUnder string `json:"sealed_under,omitempty"`
	SealedBy    string `json:"sealed_by"` // seal.key, seal.old_keys[n], unknown
	Fault       string `json:"fault,omitempty"`
}

func printKeys(cmd *cobra.Command, keys []issuer.KeyStatus, output string) error {
	lines := json.NewEncoder(cmd.OutOrStdout())
	var rows [][]string
	for _, k := range keys {
		r := keyRow{
			Purpose: k.Purpose, KeyID: k.KeyID, Algorithm: k.Algorithm, State: k.State, Published: second(k.PublishAt),
			Signs: second(k.SignAt), Retires: second(k.RetireAt), SealedUnder: k.SealKey, SealedBy: sealName(k.SealPlace),
		}
		if k.Fault != nil {
			r.Fault = k.Fault.Error()
			fmt.Fprintf(cmd.ErrOrStderr(), "cambio: warning: the %s key %s is refused: %s\n", clean(k.Purpose), clean(k.KeyID), clean(r.Fault))
		}
		if output == "json" {
			if err := lines.Encode(r); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{
			r.Purpose, r.KeyID, r.Algorithm, r.State, r.Published, r.Signs, r.Retires, r.SealedUnder + " (" + r.SealedBy + ")",
		})
	}
	if output == "json" {
		return nil
	}
	return table(cmd.OutOrStdout(), []string{"PURPOSE", "KID", "ALGORITHM", "STATE", "PUBLISHED", "SIGNS", "RETIRES", "SEALED UNDER"}, rows)
}

// second writes a moment to the second; the zero time is nothing.
func second(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// sealName says where cambio.yaml has a sealing key.
func sealName(place int) string {
	switch {
	case place == 0:
		return "seal.key"
	case place > 0:
		return fmt.Sprintf("seal.old_keys[%d]", place-1)
	}
	return "unknown"
}

func newKeysRotate() *cobra.Command {
	var file, purpose string
	var revoke bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make the next signing key now",
		Long: `Make the next signing key now, ahead of keys.rotate. It is published at once and
signs when every verifier has had time to read it: after a day, or a quarter of
keys.rotate if that is less. The key before it stays published until its last
token has died, so nothing fails. Where a next key waits already, none is added.

With --revoke-old, for a key that others may have: every earlier key of the
purpose is withdrawn and the new one signs at once. Every token that they signed
fails, whoever signed it: replicas stop publishing the keys within a minute, and
verifiers stop accepting them when they read the key set again, after five minutes
at most if they keep to what it says.`,
		Example: examples(`
			# The next key for access tokens
			cambio keys rotate --config cambio.yaml --purpose access

			# The key for assertions has become known: nothing that it signed may count
			cambio keys rotate --config cambio.yaml --purpose federation --revoke-old`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if purpose != "access" && purpose != "federation" {
				return usage("--purpose is access or federation, not %q", purpose)
			}
			reason := "cambio keys rotate"
			if revoke {
				reason += " --revoke-old"
			}
			v, err := openVault(cmd, file, reason)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, v.store.Close()) }()
			return rotate(cmd, v.keeper, purpose, revoke)
		},
	}
	addConfig(cmd, &file)
	cmd.Flags().StringVar(&purpose, "purpose", "", "access (tokens for resources) or federation (assertions to clouds)")
	cmd.Flags().BoolVar(&revoke, "revoke-old", false, "withdraw every earlier key: what they signed fails at once")
	return cmd
}

func rotate(cmd *cobra.Command, k *issuer.Keeper, purpose string, revoke bool) error {
	if revoke {
		fmt.Fprintf(cmd.ErrOrStderr(), "cambio: warning: every token that an earlier %s key signed dies now, wherever it is in use\n", purpose)
		next, err := k.Replace(cmd.Context(), purpose)
		if err != nil {
			return databaseError("replacing the keys", err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s key %s (%s) signs now; every earlier %s key is withdrawn\n", purpose, next.KeyID, next.Algorithm, purpose)
		return err
	}
	next, added, err := k.Rotate(cmd.Context(), purpose)
	if err != nil {
		return databaseError("adding a key", err)
	}
	text := "%s key %s (%s) is published now and signs from %s\n"
	if !added {
		text = "%s key %s (%s) waits already and signs from %s: nothing was added\n"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), text, purpose, next.KeyID, next.Algorithm, second(next.SignAt))
	return err
}
