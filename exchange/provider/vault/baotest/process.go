package baotest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// process is a server's process, its folder, and who clears both away.
type process struct {
	dir      string
	ended    chan struct{} // closed when it has ended
	watchdog *exec.Cmd
	leash    io.Closer
}

func run(binary, address, token string) (*process, error) {
	dir, err := os.MkdirTemp("", "baotest")
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir, ended: make(chan struct{})}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(binary, "server", "-dev", "-dev-no-store-token", "-dev-listen-address="+address)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "BAO_DEV_ROOT_TOKEN_ID=" + token}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt at the terminal is the watchdog's to follow
	if err := cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("starting bao: %w", err)
	}
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		close(p.ended)
	}()
	return p, p.watch(binary, cmd.Process.Pid)
}

// watch starts a process that waits for the end of ours, however it comes, and then
// ends the server and deletes its folder: a test binary has no last word, least of all
// when it is killed. A process of that number which is not the server is let be.
func (p *process) watch(binary string, pid int) error {
	const script = `cat >/dev/null
[ "$(readlink "/proc/$1/exe")" = "$2" ] && kill -9 "$1"
rm -rf "$3"`
	resolved, err := filepath.EvalSymlinks(binary)
	if err != nil {
		return err
	}
	p.watchdog = exec.Command("/bin/sh", "-c", script, "watchdog", strconv.Itoa(pid), resolved, p.dir)
	p.watchdog.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if p.leash, err = p.watchdog.StdinPipe(); err != nil {
		return err
	}
	return p.watchdog.Start()
}

// end ends the server and deletes its folder, by way of the watchdog.
func (p *process) end() {
	_ = p.leash.Close()
	_ = p.watchdog.Wait()
	<-p.ended
}

// await looks until the server answers well, and has said what it says.
func (p *process) await(health string) error {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(startTimeout)
	for {
		select {
		case <-p.ended:
			return errors.New("bao ended at its start\n" + p.tail())
		case <-late:
			return fmt.Errorf("bao was not ready after %s\n%s", startTimeout, p.tail())
		case <-look.C:
			if a, err := http.Get(health); err == nil {
				a.Body.Close()
				if a.StatusCode == http.StatusOK && unsealKey.MatchString(p.log()) {
					return nil
				}
			}
		}
	}
}

func (p *process) log() string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(b)
}

// tail is the end of the log.
func (p *process) tail() string {
	log := p.log()
	return log[max(0, len(log)-1000):]
}

// freePorts is the first of two neighbouring ports that nobody listens on: the server
// takes both.
func freePorts() (int, error) {
	for range 50 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		first.Close()
		if err == nil {
			second.Close()
			return port, nil
		}
	}
	return 0, errors.New("no two neighbouring ports are free")
}
