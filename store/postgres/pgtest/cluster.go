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
	password string
	fresh    bool // the folder was made now
	watchdog io.Closer
	process  *os.Process   // the postmaster
	ended    chan struct{} // closed when it has ended
}

// newCluster makes a data folder, or finds the one that was kept, and starts a
// server on it.
func newCluster(o settings, superuser, password string) (*cluster, error) {
	found, err := find()
	if err != nil {
		return nil, err
	}
	c := &cluster{found: found, dir: o.keep, settings: o, password: password, fresh: true}
	if o.keep == "" {
		// Not under the test's own temporary folder: that is closed to the account that
		// the server runs as, and too long a path for a socket.
		if c.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
			return nil, err
		}
	} else if err := errors.Join(os.MkdirAll(filepath.Dir(c.dir), 0o755), os.MkdirAll(c.dir, 0o700)); err != nil {
		return nil, err
	} else if kept, err := os.ReadFile(c.passwordFile()); err == nil {
		c.password, c.fresh = string(kept), false
	}
	if err := c.initialize(superuser); err != nil {
		if o.keep == "" {
			os.RemoveAll(c.dir)
		}
		return nil, err
	}
	return c, nil
}

func (c *cluster) passwordFile() string { return filepath.Join(c.dir, "password") }

// processors is the processor time that the server's processes have used: those
// that run, and those that the postmaster has reaped.
func (c *cluster) processors() time.Duration {
	own, ended := Processors(c.process.Pid)
	used := own + ended
	for _, pid := range children(c.process.Pid) {
		own, _ := Processors(pid)
		used += own
	}
	return used
}

// Processors is the processor time that a process has used so far, to the nearest
// hundredth of a second, and that of its children that have ended; zero for a process
// that has ended itself.
func Processors(pid int) (own, ended time.Duration) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	_, after, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(after)
	if len(fields) < 15 {
		return 0, 0
	}
	ticks := func(fields ...string) (t time.Duration) {
		for _, field := range fields {
			n, _ := strconv.ParseInt(field, 10, 64)
			t += time.Duration(n) * 10 * time.Millisecond // USER_HZ is 100
		}
		return t
	}
	return ticks(fields[11:13]...), ticks(fields[13:15]...)
}

func (c *cluster) initialize(superuser string) error {
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
	if c.fresh {
		if err := c.initdb(superuser); err != nil {
			return err
		}
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

func (c *cluster) initdb(superuser string) error {
	file := c.passwordFile()
	if err := os.WriteFile(file, []byte(c.password), 0o600); err != nil {
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
	return c.run("initdb", arguments...)
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *cluster) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

func (c *cluster) log() string {
	b, _ := os.ReadFile(filepath.Join(c.dir, "log"))
	return string(b)
}

// start runs the server on the cluster's port and waits until it accepts.
//
// It is our own child, and not pg_ctl's: in a container whose first process reaps
// nobody, an orphan that was killed stays a zombie, and the next server takes it
// for one that runs.
func (c *cluster) start() error {
	settings := []string{
		"port=" + strconv.Itoa(c.port), "unix_socket_directories=" + c.dir, "listen_addresses=127.0.0.1",
		"shared_buffers=64MB", "max_connections=100", "logging_collector=off", "log_timezone=UTC", "timezone=UTC",
	}
	if !c.settings.durable {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	arguments := []string{"-D", c.data()}
	for _, setting := range append(settings, c.settings.settings...) {
		arguments = append(arguments, "-c", setting)
	}
	cmd := c.command(context.Background(), filepath.Join(c.found.bin, "postgres"), arguments...)
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true // an interrupt at the terminal is the watchdog's to follow
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting postgres: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		close(ended)
	}()
	c.process, c.ended = cmd.Process, ended
	return c.await()
}

// await looks until the server says in its lock file that it is ready: a
// connection would be refused, or told to wait, without end.
func (c *cluster) await() error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	late := time.After(startTimeout)
	for {
		select {
		case <-c.ended:
			return fmt.Errorf("postgres ended at its start\n%s", tail([]byte(c.log())))
		case <-late:
			return fmt.Errorf("postgres was not ready after %s\n%s", startTimeout, tail([]byte(c.log())))
		case <-look.C:
			lines := strings.Split(c.lockFile(), "\n")
			if len(lines) >= 8 && lines[0] == strconv.Itoa(c.process.Pid) && strings.TrimSpace(lines[7]) == "ready" {
				return nil
			}
		}
	}
}

func (c *cluster) lockFile() string {
	b, _ := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	return string(b)
}

// stop asks for a fast shutdown and waits for its end.
func (c *cluster) stop() error {
	if err := c.process.Signal(os.Interrupt); err != nil {
		return err
	}
	return c.wait()
}

// kill ends the postmaster and every process below it with SIGKILL, and waits
// until all are gone: what is left of a killed backend would keep a new server
// from starting.
func (c *cluster) kill() error {
	// The postmaster first, so that it does not take the others' death for a
	// crash to recover from.
	backends := children(c.process.Pid)
	if err := c.process.Kill(); err != nil {
		return err
	}
	for _, pid := range backends {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	if err := c.wait(); err != nil {
		return err
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.After(startTimeout)
	for _, pid := range backends {
		for alive(pid) {
			select {
			case <-late:
				return fmt.Errorf("process %d outlived SIGKILL", pid)
			case <-look.C:
			}
		}
	}
	return nil
}

func (c *cluster) wait() error {
	select {
	case <-c.ended:
		return nil
	case <-time.After(startTimeout):
		return fmt.Errorf("postgres has not ended after %s", startTimeout)
	}
}

// remove ends the server and deletes its folder, by way of the watchdog.
func (c *cluster) remove() { c.watchdog.Close() }

// watch starts a process that waits for the end of ours, however it comes, and
// then stops the server and deletes its folder, unless it is kept: a test binary
// has no last word, least of all when it is killed.
func (c *cluster) watch() error {
	const script = `cat >/dev/null
if [ -f "$1/data/postmaster.pid" ]; then
	"$2/pg_ctl" -D "$1/data" -m "$3" -w -s stop
fi
[ "$3" = fast ] || rm -rf "$1"`
	mode := "immediate"
	if c.settings.keep != "" {
		mode = "fast"
	}
	cmd := c.command(context.Background(), "/bin/sh", "-c", script, "watchdog", c.dir, c.found.bin, mode)
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
