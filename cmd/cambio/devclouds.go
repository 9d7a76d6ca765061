package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/cmd/cambio/clouds"
	"github.com/cambio-sts/cambio/cmd/cambio/config"
	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// standInHost is where dev plays the providers, whatever it listens on itself: the
// policy names it.
const standInHost = "127.0.0.1"

// lateKeys are the published keys of a house that is not open yet: the providers
// stand before it, since its policy names their ports.
type lateKeys struct{ house atomic.Pointer[house] }

// read is the federation issuer's JWK Set; empty: nothing is published yet.
func (k *lateKeys) read() []byte {
	if h := k.house.Load(); h != nil {
		return h.issuer.FederationJWKS()
	}
	return nil
}

// playClouds binds the providers' stand-ins beside a dev that answers at url, and
// tells the data folder where they are.
func (f *devFlags) playClouds(ctx context.Context, world *devworld.World, url string, keys *lateKeys, log *slog.Logger) (*clouds.Clouds, error) {
	cluster, err := world.ClusterKeys()
	if err != nil {
		return nil, err
	}
	secret, err := world.OCISecret()
	if err != nil {
		return nil, err
	}
	kept, err := world.Ports()
	if err != nil {
		return nil, err
	}
	o := clouds.Options{
		Assertions: sandbox.World{Issuer: url + "/federation", Keys: keys.read, Now: time.Now, Random: rand.Reader},
		Cluster:    sandbox.World{Issuer: devworld.ClusterIssuer, Keys: func() []byte { return cluster }, Now: time.Now, Random: rand.Reader},
		Workload:   devworld.Workload, OCISecret: secret, Host: standInHost, Ports: kept,
	}
	if _, port, err := net.SplitHostPort(f.listen); err == nil {
		if own, err := strconv.Atoi(port); err == nil && own > 0 && own+len(clouds.Names()) < 1<<16 {
			o.First = own + 1
		}
	}
	c, err := clouds.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := tellWorld(world, c, log); err != nil {
		_ = c.Close(ctx)
		return nil, err
	}
	return c, nil
}

func tellWorld(world *devworld.World, c *clouds.Clouds, log *slog.Logger) error {
	policy, err := c.Policy()
	if err != nil {
		return err
	}
	moved, err := world.MovePolicy(c.Ports())
	if err != nil {
		return err
	}
	if moved {
		log.Warn("a port of the stand-ins was taken: they moved, and policy/" + devworld.CloudsFile + " says where to")
	}
	if err := world.WritePolicy(map[string][]byte{devworld.CloudsFile: policy}); err != nil {
		return err
	}
	if err := world.KeepPorts(c.Ports()); err != nil {
		return err
	}
	return world.WriteClouds(c.Authority(), environmentFile(c.Environment(absolute(world.CAFile()))))
}

// environmentFile writes variables for a POSIX shell.
func environmentFile(variables []clouds.Setting) string {
	var b strings.Builder
	b.WriteString("# Lets SDKs and tools find the stand-ins, and trust nobody else: source it in a terminal\n# of its own.\n")
	for _, v := range variables {
		fmt.Fprintf(&b, "export %s=%s\n", v.Name, quote(v.Value))
	}
	return b.String()
}

// letCloudsIn opens dev's way out to its own stand-ins.
func letCloudsIn(c *config.Config, world *devworld.World, players *clouds.Clouds) {
	c.Outbound.CAFile, c.Outbound.StandIns = world.CAFile(), []string{standInHost}
	c.Secrets = map[string]config.Source{clouds.OCISecretName: {
		File: world.OCISecretFile(), Hosts: []string{strings.TrimPrefix(players.Endpoint(clouds.OCI), "https://")},
	}}
}
