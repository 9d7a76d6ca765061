package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/sqlite"
)

func newMigrate() *cobra.Command {
	var file, ownerFile, role string
	var password bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to this version",
		Long: `Bring the schema up to what this version needs. Any number may run at once, and
where nothing is missing nothing changes; a server of the version before keeps
running.

On PostgreSQL two roles are needed (S34): the owner, who may change the schema,
and the service role of store.postgres.dsn, who may not. The owner's connection
is taken from CAMBIO_OWNER_DSN or --owner-dsn-file, and stands in no
configuration that serve reads. The service role is made if there is none.`,
		Example: examples(`
			# Make the schema in SQLite, or bring it up to date
			cambio migrate --config cambio.yaml

			# In PostgreSQL, as the owner; the service role gets the password of the dsn
			CAMBIO_OWNER_DSN='postgres://owner:…@db/cambio' cambio migrate --config cambio.yaml --set-password`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd, file)
			if err != nil {
				return err
			}
			if path := c.Store.SQLite.Path; path != "" {
				if ownerFile != "" || role != "" || password {
					return usage("--owner-dsn-file, --service-role and --set-password are for PostgreSQL, and the store is SQLite: leave them out")
				}
				if err := sqlite.Migrate(cmd.Context(), path); err != nil {
					return fmt.Errorf("migrating the database: %w", err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is up to date\n", path)
				return err
			}
			owner, err := ownerDSN(ownerFile, cmd.InOrStdin())
			if err != nil {
				return err
			}
			o, err := migrateOptions(c, role, password)
			if err != nil {
				return err
			}
			o.Progress = func(step string) { fmt.Fprintln(cmd.ErrOrStderr(), clean(step)) }
			if err := postgres.Migrate(cmd.Context(), owner.Reveal(), o); err != nil {
				return databaseError("migrating the database", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the database is up to date")
			return err
		},
	}
	addConfig(cmd, &file)
	cmd.Flags().StringVar(&ownerFile, "owner-dsn-file", "", "file with the owner's PostgreSQL connection string, - for standard input (or CAMBIO_OWNER_DSN)")
	cmd.Flags().StringVar(&role, "service-role", "", "the role that serves (default: the user of store.postgres.dsn)")
	cmd.Flags().BoolVar(&password, "set-password", false, "give the service role the password of store.postgres.dsn")
	return cmd
}

func ownerDSN(file string, stdin io.Reader) (exchange.Secret, error) {
	if file != "" {
		return readSecret("the owner's DSN", file, stdin)
	}
	if dsn := os.Getenv("CAMBIO_OWNER_DSN"); dsn != "" {
		return exchange.NewSecret(dsn), nil
	}
	return exchange.Secret{}, errors.New("the owner's connection is missing: set CAMBIO_OWNER_DSN, or name a file with --owner-dsn-file")
}

// migrateOptions takes the service role from the connection that serve uses.
func migrateOptions(c *config.Config, role string, password bool) (postgres.MigrateOptions, error) {
	service, err := pgx.ParseConfig(c.Store.Postgres.DSN.Reveal())
	if err != nil { // its text may repeat the string, and with it the password
		return postgres.MigrateOptions{}, errors.New("store.postgres.dsn cannot be parsed: it is postgres://user:password@host:port/database or key=value pairs")
	}
	o := postgres.MigrateOptions{ServiceRole: either(role, service.User)}
	if password {
		if service.Password == "" {
			return o, usage("--set-password: store.postgres.dsn has no password to set")
		}
		o.ServicePassword = exchange.NewSecret(service.Password)
	}
	return o, nil
}

// isNetwork reports whether a database could not be reached at all.
func isNetwork(err error) bool {
	var connect *pgconn.ConnectError
	var network *net.OpError
	var said *pgconn.PgError
	return (errors.As(err, &connect) || errors.As(err, &network)) && !errors.As(err, &said)
}
