package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cluster is one data folder and the server that runs on it.
type cluster struct {
	found    installation
	dir      string
	port     int
	account  *user.User // whom the programs run as; nil: ourselves
	settings settings
	watchdog io.Closer
}

// newCluster makes a data folder and starts a server on it.
func newCluster(o settings, superuser, password string) (*cluster, error) {
	found, err := find()
	if err != nil {
		return nil, err
	}
	// Not under the test's own temporary folder: that is closed to the account that
	// the server runs as, and too long a path for a socket.
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	c := &cluster{found: found, dir: dir, settings: o}
	if err := c.initialize(superuser, password); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return c, nil
}

func (c *cluster) initialize(superuser, password string) error {
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		account, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("running as root needs the account that the package makes: %w", err)
		}
		c.account = account
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		if err := os.Chown(c.dir, uid, gid); err != nil {
			return err
		}
	}
	if err := c.watch(); err != nil {
		return err
	}
	file := filepath.Join(c.dir, "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		return err
	}
	if c.account != nil {
		uid, _ := strconv.Atoi(c.account.Uid)
		if err := os.Chown(file, uid, -1); err != nil {
			return err
		}
	}
	arguments := append([]string{
		"-D", c.data(), "-U", superuser, "--pwfile=" + file, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "-N",
	}, c.found.initdb...)
	if err := c.run("initdb", arguments...); err != nil {
		return err
	}
	// Another program may take a port between our look and the server's: then
	// another port.
	var err error
	for range 5 {
		if c.port, err = freePort(); err != nil {
			return err
		}
		if err = c.start(); err == nil {
			return nil
		}
	}
	return err
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *cluster) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

func (c *cluster) log() string {
	b, _ := os.ReadFile(filepath.Join(c.dir, "log"))
	return string(b)
}

// start runs the server on the cluster's port and waits until it accepts.
func (c *cluster) start() error {
	lines := []string{
		fmt.Sprintf("port=%d", c.port), "unix_socket_directories=" + c.dir, "listen_addresses=127.0.0.1",
		"shared_buffers=64MB", "max_connections=100", "logging_collector=off", "log_timezone=UTC", "timezone=UTC",
	}
	if !c.settings.durable {
		lines = append(lines, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	lines = append(lines, c.settings.settings...)
	var flags strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&flags, "-c '%s' ", line)
	}
	err := c.run("pg_ctl", "-D", c.data(), "-l", filepath.Join(c.dir, "log"), "-w", "-s",
		"-t", strconv.Itoa(int(startTimeout.Seconds())), "-o", flags.String(), "start")
	if err != nil {
		return fmt.Errorf("%w\n%s", err, tail([]byte(c.log())))
	}
	return nil
}

func (c *cluster) stop() error {
	return c.run("pg_ctl", "-D", c.data(), "-m", "fast", "-w", "-s", "stop")
}

// kill ends the postmaster and every process below it with SIGKILL, and waits
// until all are gone: what is left of a killed backend would keep a new server
// from starting.
func (c *cluster) kill() error {
	postmaster, err := c.postmaster()
	if err != nil {
		return err
	}
	// The postmaster first, so that it does not take the others' death for a
	// crash to recover from.
	group := append([]int{postmaster}, children(postmaster)...)
	for _, pid := range group {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	deadline := time.Now().Add(startTimeout)
	for _, pid := range group {
		for alive(pid) {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d outlived SIGKILL", pid)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

func (c *cluster) postmaster() (int, error) {
	b, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return 0, fmt.Errorf("the server is not running: %w", err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strconv.Atoi(first)
}

// remove ends the server and deletes its folder, by way of the watchdog.
func (c *cluster) remove() { c.watchdog.Close() }

// watch starts a process that waits for the end of ours, however it comes, and
// then stops the server and deletes its folder: a test binary has no last word,
// least of all when it is killed.
func (c *cluster) watch() error {
	const script = `cat >/dev/null
if [ -f "$1/data/postmaster.pid" ]; then
	"$2/pg_ctl" -D "$1/data" -m immediate -w -s stop
fi
rm -rf "$1"`
	cmd := c.command(context.Background(), "/bin/sh", "-c", script, "watchdog", c.dir, c.found.bin)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true // not in reach of an interrupt at the terminal
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the watchdog: %w", err)
	}
	c.watchdog = closer(func() error {
		err := stdin.Close()
		return errors.Join(err, cmd.Wait())
	})
	return nil
}

type closer func() error

func (c closer) Close() error { return c() }

// run runs one of PostgreSQL's programs to its end.
func (c *cluster) run(program string, arguments ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cmd := c.command(ctx, filepath.Join(c.found.bin, program), arguments...)
	// A file and not a pipe: a server that pg_ctl leaves behind would hold the
	// pipe open.
	output, err := os.CreateTemp("", "pgtest-output")
	if err != nil {
		return err
	}
	defer os.Remove(output.Name())
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(output.Name())
		return fmt.Errorf("%s: %w\n%s", program, err, tail(said))
	}
	return nil
}

func (c *cluster) command(ctx context.Context, path string, arguments ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, arguments...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if c.found.libraries != "" {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+c.found.libraries)
	}
	if c.account != nil {
		uid, _ := strconv.Atoi(c.account.Uid)
		gid, _ := strconv.Atoi(c.account.Gid)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		cmd.Env = append(cmd.Env, "HOME="+c.dir)
	}
	return cmd
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// children lists the direct children of a process: a postmaster's have none.
func children(parent int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	if err != nil {
		return nil
	}
	var found []int
	for _, field := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(field); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

// alive reports whether a process runs still; one that has ended and waits to be
// reaped does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(after, "Z")
}
