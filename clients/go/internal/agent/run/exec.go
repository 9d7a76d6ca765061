package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/caller"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/config"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/exec"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/format"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/keep"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
)

// anyPort is where the rooms of one command listen.
const anyPort = "127.0.0.1:0"

// Start is a command, and what it is started with.
type Start struct {
	Command exec.Command
	// Variables are credentials that stand in the environment, target by name. They
	// are as old as the command.
	Variables map[string]string
	// Notice tells the user what was left out of the environment.
	Notice func(string)
}

// Exec runs a command with the rooms of a configuration around it, on free ports and
// with secrets of this start, and returns its exit status.
func Exec(ctx context.Context, c *config.Config, o Options, s Start) (status int, err error) {
	dir, err := os.MkdirTemp(runtimeDir(o.Env), "cambio-agent-")
	if err != nil {
		return 0, fmt.Errorf("a folder for secrets cannot be made: %w", err)
	}
	defer os.RemoveAll(dir)
	settle(c, dir)
	client, err := caller.Connect(c.URL, c.CAFile, c.Identity, c.Client)
	if err != nil {
		return 0, err
	}
	rooms, err := Open(c, client, o.Log, nil, nil)
	if err != nil {
		return 0, err
	}
	doors, proxy := listen.New(o.Log, o.Drain), listen.New(o.Log, o.Drain)
	defer doors.Close()
	defer proxy.Close()
	if err := errors.Join(doors.Update(rooms.DoorEndpoints()), proxy.Update(rooms.ProxyEndpoints())); err != nil {
		return 0, err
	}
	if err := rooms.Once(ctx); err != nil {
		return 0, err
	}
	set, err := variables(ctx, rooms, s.Variables)
	if err != nil {
		return 0, err
	}
	maps.Copy(set, rooms.Door.Env(doors.Bound()))
	maps.Copy(set, rooms.Proxy.Env(proxy.Bound()))
	if c.Doors.AWS != nil {
		// The file of one's own keys comes before a container's in the chain.
		none := filepath.Join(dir, "no-credentials")
		if err := os.WriteFile(none, nil, 0o600); err != nil {
			return 0, err
		}
		set["AWS_SHARED_CREDENTIALS_FILE"] = none
		// boto3 before 1.33 knows no file of the secret.
		secret, err := os.ReadFile(c.Doors.SecretFile)
		if err != nil {
			return 0, err
		}
		set["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = string(secret)
	}
	env, removed := exec.Environment(s.Command.Env, set)
	for _, name := range removed {
		s.Notice(name + " is not handed on: it would win over what is set here")
	}
	// A signal is the command's to obey: the rooms stay until it has ended.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		rooms.Run(work, false)
	}()
	s.Command.Env = env
	status, err = exec.Run(s.Command)
	stop()
	<-done
	return status, err
}

// settle puts the rooms where they are in nobody's way: on ports that are free, with
// files in a folder of this start.
func settle(c *config.Config, dir string) {
	d := &c.Doors
	if !strings.HasPrefix(d.Listen, "unix:") {
		d.Listen = anyPort
	}
	if d.GCE != nil {
		d.GCE.Listen = ""
	}
	d.SecretFile, d.SecretFrom = filepath.Join(dir, "secret"), ""
	if d.OCI != nil && d.OCI.Files != nil {
		d.OCI.Files.Dir = filepath.Join(dir, "oci")
	}
	if len(c.Proxy.Routes) > 0 && !strings.HasPrefix(c.Proxy.Listen, "unix:") {
		c.Proxy.Listen = anyPort
	}
	c.Proxy.Expose, c.Proxy.SecretFile = false, ""
}

// variables asks for the credentials that stand in the environment.
func variables(ctx context.Context, rooms *Rooms, wanted map[string]string) (map[string]string, error) {
	set := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		source, err := rooms.Targets.Source(wanted[name])
		if err != nil {
			return nil, err
		}
		credential, err := source.AtLeast(ctx, time.Minute)
		if err != nil {
			return nil, &keep.Fault{Target: wanted[name], Err: err}
		}
		all, err := format.Variables(credential, name)
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", wanted[name], err)
		}
		for _, v := range all {
			set[v.Name] = v.Value.Reveal()
		}
	}
	return set, nil
}

// runtimeDir is in memory, and this user's, where there is such a folder; else that of
// temporary files.
func runtimeDir(env config.Environment) string {
	if dir := env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return os.TempDir()
}
