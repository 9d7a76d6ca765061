package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/clouds"
	"github.com/cambio-sts/cambio/cmd/cambio/config"
	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/store/sqlite"
)

// devReload is how often dev looks at its policy: what a newcomer edits should
// show at once.
const devReload = 250 * time.Millisecond

// freshTokens is how often dev mints its auditor's and operator's tokens anew.
const freshTokens = devworld.Lifetime / 4

// devMark is the application_id of a SQLite file that dev made: "CDEV".
const devMark = 0x43444556

type devFlags struct {
	data, listen, ops, readyFile string
}

func newDev() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine, with no account anywhere",
		Long: `Run a whole Cambio on this machine: the server on SQLite, a small issuer that
plays a cluster with service accounts and a company with users, stand-ins of AWS,
Azure, Google Cloud, OCI, IBM Cloud, Anthropic and OpenAI on the ports after its
own, and a sample policy that you can edit while it runs. It prints what to try
next.

Everything lies in one folder, and its keys are made on the spot. It listens on
this machine only. It is for trying things out and for tests: serve refuses its
data.`,
		Example: examples(`
			# Start, with the data in ./cambio-dev
			cambio dev

			# Start in a test: on free ports, and say in a file when it is ready
			cambio dev --data "$TMPDIR/cambio" --listen 127.0.0.1:0 --ops-listen 127.0.0.1:0 --ready-file ready.json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", defaultData, "folder of the database, the keys and the policy")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address to serve on, of this machine; port 0 takes a free one")
	flags.StringVar(&f.ops, "ops-listen", "127.0.0.1:9090", "address of /metrics, /healthz and /readyz")
	flags.StringVar(&f.readyFile, "ready-file", "", "file to write when requests are answered: JSON with url, ops_url, issuer, policy_dir, data_dir, ca_file, clouds")
	return cmd
}

func (f *devFlags) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	for flag, address := range map[string]string{"--listen": f.listen, "--ops-listen": f.ops} {
		if err := devworld.CheckAddress(address); err != nil {
			return usage("%s: %w", flag, err)
		}
	}
	log := newLogger(cmd.ErrOrStderr(), config.Log{Level: "info", Format: "text"})
	p, err := bind(ctx, server.Options{Address: f.listen, Logger: log}, server.Options{Address: f.ops, Logger: log})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: choose others with --listen and --ops-listen, where port 0 takes a free one", err)
	}
	if err != nil {
		return err
	}
	world, providers, h, err := f.open(ctx, p, blueprint{log: log})
	if err != nil {
		p.close(ctx)
		return err
	}
	defer providers.Close(ctx)
	players, err := world.Handler(p.main.URL())
	if err != nil {
		p.close(ctx)
		return errors.Join(err, h.close(ctx))
	}
	p.guard = devworld.Guard
	doors := h.handler()
	p.grpc.set(devworld.Guard(h.grpc()))
	p.doors.set(devworld.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == doctorPath {
			h.serveDoctor(w, r)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/dev/") {
			players.ServeHTTP(w, r)
			return
		}
		doors.ServeHTTP(w, r)
	})))
	minting, stop := context.WithCancel(ctx)
	defer stop()
	defer world.RemoveTokens()
	defer os.Remove(devworld.ReadyFile(world.Dir()))
	return p.run(ctx, h, func() error {
		if err := world.WriteTokens(time.Now()); err != nil {
			return err
		}
		go func() {
			if err := providers.Serve(); err != nil {
				log.Error("a stand-in ended", "error", err.Error())
			}
		}()
		go keepTokens(minting, world, h.meters.fault("development tokens"))
		ready := devworld.Ready{
			URL: p.main.URL(), OpsURL: p.ops.URL(), Issuer: h.config.Issuer,
			PolicyDir: absolute(world.PolicyDir()), DataDir: absolute(world.Dir()),
			CAFile: absolute(world.CAFile()), Clouds: providers.Endpoints(),
		}
		if err := ready.Write(devworld.ReadyFile(world.Dir())); err != nil {
			return err
		}
		if _, err := fmt.Fprint(cmd.OutOrStdout(), f.welcome(ready)); err != nil {
			return err
		}
		if f.readyFile != "" {
			return ready.Write(f.readyFile)
		}
		return nil
	})
}

// open makes the data folder where it is new, the providers' stand-ins, and the
// house over it.
func (f *devFlags) open(ctx context.Context, p *ports, b blueprint) (*devworld.World, *clouds.Clouds, *house, error) {
	world, err := devworld.Create(f.data)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := f.openStore(ctx, world, &b); err != nil {
		return nil, nil, nil, err
	}
	keys := &lateKeys{}
	providers, err := f.playClouds(ctx, world, p.main.URL(), keys, b.log)
	if err != nil {
		return nil, nil, nil, errors.Join(err, b.store.Close())
	}
	b.config = config.Defaults()
	b.config.Issuer = p.main.URL()
	b.config.Policy.Dir, b.config.Policy.Reload = world.PolicyDir(), devReload
	b.config.Outbound.Allow = []string{"*", standInHost} // what runs beside it can be tried
	letCloudsIn(b.config, world, providers)
	h, err := newHouse(ctx, b)
	if err != nil {
		return nil, nil, nil, errors.Join(err, providers.Close(ctx))
	}
	keys.house.Store(h)
	return world, providers, h, nil
}

// openStore opens the database first: another dev in the same folder has it.
func (f *devFlags) openStore(ctx context.Context, world *devworld.World, b *blueprint) (err error) {
	if b.sealKey, err = world.SealKey(); err != nil {
		return err
	}
	err = sqlite.Migrate(ctx, world.Database())
	if errors.Is(err, sqlite.ErrInUse) {
		return fmt.Errorf("another cambio dev runs from %s: stop it, or name another folder with --data", world.Dir())
	}
	if err != nil {
		return fmt.Errorf("preparing the database: %w", err)
	}
	if err := markDev(ctx, world.Database()); err != nil {
		return fmt.Errorf("preparing the database: %w", err)
	}
	if b.store, err = sqlite.Open(ctx, world.Database(), sqlite.Options{}); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	return nil
}

func keepTokens(ctx context.Context, world *devworld.World, fault func(error)) {
	tick := time.NewTicker(freshTokens)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := world.WriteTokens(now); err != nil {
				fault(err)
			}
		}
	}
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// devDatabase opens a SQLite file beside the store, for its mark alone.
func devDatabase(path string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.ToSlash(path)}).EscapedPath())
}

// markDev marks a SQLite file as dev's (S35). The mark travels with a copy.
func markDev(ctx context.Context, path string) error {
	db, err := devDatabase(path)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, fmt.Sprintf("pragma application_id = %d", devMark))
	return errors.Join(err, db.Close())
}

// isDev reports whether a SQLite file is dev's. A file that is not there is not.
func isDev(ctx context.Context, path string) (bool, error) {
	if _, err := os.Stat(path); err != nil {
		return false, nil //nolint:nilerr // whoever opens it says what is wrong
	}
	db, err := devDatabase(path)
	if err != nil {
		return false, err
	}
	var mark int64
	err = db.QueryRowContext(ctx, "pragma application_id").Scan(&mark)
	return mark == devMark, errors.Join(err, db.Close())
}
