package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/store"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/sqlite"
)

func newServe() *cobra.Command {
	var file, readyFile string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server that cambio.yaml describes. It never changes the database's
schema: cambio migrate does. It stops on SIGTERM once what is in flight has been
recorded.

Every key of cambio.yaml can be given as an environment variable, which wins over
the file; lists are separated by commas:

` + reference(),
		Example: examples(`
			# Run the server that a file describes
			cambio serve --config /etc/cambio/cambio.yaml

			# Run it in a container, with everything in the environment
			CAMBIO_ISSUER=https://cambio.example CAMBIO_LISTEN_ADDRESS=:8080 CAMBIO_LISTEN_PLAINTEXT=true \
			  CAMBIO_STORE_POSTGRES_DSN='${secret:db}' CAMBIO_SECRETS_DB_ENV=DATABASE_URL \
			  CAMBIO_SEAL_KEY='${secret:seal}' CAMBIO_SECRETS_SEAL_FILE=/run/secrets/seal cambio serve`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd, file)
			if err != nil {
				return err
			}
			return serve(cmd, c, readyFile)
		},
	}
	addConfig(cmd, &file)
	cmd.Flags().StringVar(&readyFile, "ready-file", "", "file to write when requests are answered: JSON with url, ops_url, issuer, policy_dir")
	return cmd
}

// reference lists every key with its variable, default and meaning.
func reference() string {
	var b strings.Builder
	for _, k := range config.Keyring() {
		fmt.Fprintf(&b, "  %s\n", k.Variable)
		text := k.Path + ". " + k.Text
		if k.Default != "" {
			text += " Default: " + k.Default + "."
		}
		for _, line := range wrap(text, 74) {
			fmt.Fprintf(&b, "      %s\n", line)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

func addConfig(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "the configuration (default: ./cambio.yaml, if there is one; else the environment alone)")
}

// loadConfig reads the configuration and passes its warnings on.
func loadConfig(cmd *cobra.Command, file string) (*config.Config, error) {
	if file == "" {
		if _, err := os.Stat(defaultConfig); err == nil {
			file = defaultConfig
		}
	}
	c, err := config.Load(file, os.Environ())
	if err != nil {
		return nil, fmt.Errorf("the configuration is at fault:\n%w", err)
	}
	for _, w := range c.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "cambio: warning: "+clean(w))
	}
	return c, nil
}

func serve(cmd *cobra.Command, c *config.Config, readyFile string) error {
	ctx := cmd.Context()
	log := newLogger(cmd.ErrOrStderr(), c.Log)
	key, err := c.SealKey()
	if err != nil {
		return err
	}
	old, err := c.OldSealKeys()
	if err != nil {
		return err
	}
	if c.Policy.Dir, err = filepath.Abs(c.Policy.Dir); err != nil {
		return fmt.Errorf("policy.dir: %w", err)
	}
	p, err := bind(ctx, server.Options{
		Address: c.Listen.Address, CertFile: c.Listen.TLS.CertFile, KeyFile: c.Listen.TLS.KeyFile,
		Plaintext: c.Listen.Plaintext, Logger: log,
	}, server.Options{Address: c.Ops.Address, Plaintext: true, Logger: log}) // ops has nothing secret
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: stop what has the port, or change listen.address or ops.address", err)
	}
	if err != nil {
		return err
	}
	s, err := openStore(ctx, c, log)
	if err != nil {
		p.close(ctx)
		return err
	}
	h, err := newHouse(ctx, blueprint{config: c, sealKey: key, oldKeys: old, store: s, log: log, check: refuseDevTrusts})
	if err != nil {
		p.close(ctx)
		return err
	}
	p.grpc.set(h.grpc())
	p.doors.set(h.handler())
	return p.run(ctx, h, func() error {
		log.Info("serving", "address", p.main.Addr().String(), "ops", p.ops.Addr().String(), "issuer", c.Issuer, "version", thisBuild().Version)
		if readyFile == "" {
			return nil
		}
		return devworld.Ready{URL: p.main.URL(), OpsURL: p.ops.URL(), Issuer: c.Issuer, PolicyDir: c.Policy.Dir}.Write(readyFile)
	})
}

// openStore opens the database, which must be migrated already.
func openStore(ctx context.Context, c *config.Config, log *slog.Logger) (store.Store, error) {
	if path := c.Store.SQLite.Path; path != "" {
		dev, err := isDev(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("opening the database: %w", sqlite.Advise(path, err))
		}
		if dev {
			return nil, fmt.Errorf("store.sqlite.path: %s is the database of a cambio dev, whose keys guard nothing: give serve a database of its own (S35)", path)
		}
		s, err := sqlite.Open(ctx, path, sqlite.Options{})
		if err != nil {
			return nil, fmt.Errorf("opening the database: %w", err)
		}
		return s, nil
	}
	s, err := postgres.Open(ctx, c.Store.Postgres.DSN.Reveal(), postgres.Options{Log: log})
	if err != nil {
		return nil, databaseError("opening the database", err)
	}
	return s, nil
}

// databaseError tells a database that is away, or that says no, from one that
// cannot be reached.
func databaseError(action string, err error) error {
	err = fmt.Errorf("%s: %w", action, err)
	if exchange.KindOf(err) == exchange.KindUnavailable || isNetwork(err) {
		return unreachable(err)
	}
	return err
}
