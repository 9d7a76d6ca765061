package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	commandTimeout = 30 * time.Second
	// maxOutput bounds what is kept of a command's output, in bytes.
	maxOutput = 64 << 10
)

// OnChange is what is done after a file changed: a command, or a signal to a process.
type OnChange struct {
	// Command is run without a shell, with PATH, HOME, USER, LANG, TZ and TMPDIR of the
	// agent and with Environment: none of the agent's own secrets.
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Timeout     time.Duration     `yaml:"timeout"` // default 30s; then the command and its children are killed

	Signal  string `yaml:"signal"`   // such as HUP
	PIDFile string `yaml:"pid_file"` // holds the number of the process; it is root's, the agent's user's, or of the process's user
	// Process is the name of a program on this machine, or in this pod where that has
	// shareProcessNamespace. Of a family that has the name, the first is signalled.
	Process string `yaml:"process"`
}

func (o *OnChange) check() []error {
	var faults []error
	fault := func(text string, parts ...any) { faults = append(faults, fmt.Errorf(text, parts...)) }
	signalled := o.Signal != "" || o.PIDFile != "" || o.Process != ""
	switch {
	case len(o.Command) == 0 && !signalled:
		fault("command: name one, or a signal")
	case len(o.Command) != 0 && signalled:
		fault("signal: there is a command too: keep one")
	case len(o.Command) != 0 && o.Command[0] == "":
		fault("command: the first word is the program's name")
	case signalled && o.Signal == "":
		fault("signal: name one, such as HUP")
	case signalled && (o.PIDFile == "") == (o.Process == ""):
		fault("signal: name a pid_file or a process")
	}
	if len(o.Command) == 0 && (o.Environment != nil || o.Timeout != 0) {
		fault("command: environment and timeout are of a command")
	}
	if o.Signal != "" {
		if _, err := signalNumber(o.Signal); err != nil {
			fault("signal: %w", err)
		}
	}
	if o.Timeout < 0 || o.Timeout > 10*time.Minute {
		fault("timeout: up to 10m")
	}
	if strings.ContainsAny(o.Process, "/\x00") {
		fault("process: %q is no name of a program", o.Process)
	}
	for _, word := range o.Command {
		if strings.ContainsRune(word, 0) {
			fault("command: no word holds a NUL")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Environment)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(o.Environment[name], 0) {
			fault("environment: %q is no variable", name)
		}
	}
	return faults
}

// name is how logs call it. Words after the program's name may be anything.
func (o *OnChange) name() string {
	if len(o.Command) != 0 {
		return o.Command[0]
	}
	if o.PIDFile != "" {
		return "signal " + o.Signal + " by " + o.PIDFile
	}
	return "signal " + o.Signal + " to " + o.Process
}

// do does it, and returns what the command said.
func (o *OnChange) do(ctx context.Context) (said []byte, err error) {
	if len(o.Command) == 0 {
		return nil, o.signal()
	}
	timeout := o.Timeout
	if timeout == 0 {
		timeout = commandTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	command := exec.CommandContext(ctx, o.Command[0], o.Command[1:]...)
	command.Env = o.environment()
	// A group of its own, so that what it started ends with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second // a grandchild that left the group may hold the pipe
	var out head
	command.Stdout, command.Stderr = &out, &out
	err = command.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("it took longer than %s: raise timeout, or let it do its work in the background", timeout)
	}
	return out.text(), err
}

func (o *OnChange) environment() []string {
	environment := []string{}
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			environment = append(environment, name+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Environment)) {
		environment = append(environment, name+"="+o.Environment[name])
	}
	return environment
}

// head keeps the beginning of what is written to it.
type head struct {
	b    bytes.Buffer
	more bool
}

func (h *head) Write(text []byte) (int, error) {
	room := maxOutput - h.b.Len()
	h.more = h.more || len(text) > room
	h.b.Write(text[:min(len(text), room)])
	return len(text), nil
}

// text is what was kept, in whole lines if something was not: half a secret would not be
// known as one.
func (h *head) text() []byte {
	if !h.more {
		return h.b.Bytes()
	}
	return h.b.Bytes()[:bytes.LastIndexByte(h.b.Bytes(), '\n')+1]
}
