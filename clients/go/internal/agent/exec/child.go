// Package exec runs one command as a child: it hands signals on, waits, and reports the
// exit status. It signals nothing but that child.
package exec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Statuses of a command that could not be run, as env(1) has them.
const (
	StatusCannotRun = 126
	StatusNotFound  = 127
	signalled       = 128 // and the signal's number
)

// forwarded are handed on to the child. SIGPIPE, SIGURG and SIGCHLD are this process's
// own; SIGKILL and SIGSTOP cannot be.
var forwarded = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
}

// Command is what is run.
type Command struct {
	Args           []string // at least one
	Env            []string
	Stdin          *os.File
	Stdout, Stderr io.Writer
}

// NotRunError is why there is no child.
type NotRunError struct {
	Status int
	err    error
}

// Error says what to change.
func (e *NotRunError) Error() string { return e.err.Error() }

// Unwrap is the cause.
func (e *NotRunError) Unwrap() error { return e.err }

// Run starts the command and returns its exit status: 128 and the number of the signal
// if one ended it. Signals that arrive meanwhile are the child's: this process goes on
// until the child has ended. The error is a *NotRunError.
func Run(c Command) (int, error) {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Env, c.Stdin, c.Stdout, c.Stderr
	// Before the start, so that no signal is lost between the two.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	stop := reapOrphans()
	defer stop()
	if err := cmd.Start(); err != nil {
		return 0, notRun(c.Args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if !(fromTerminal(s) && shareTerminal(c.Stdin)) {
				_ = cmd.Process.Signal(s) // it may just have ended
			}
		case err := <-ended:
			return status(cmd, err)
		}
	}
}

func status(cmd *exec.Cmd, err error) (int, error) {
	if cmd.ProcessState == nil {
		return 0, &NotRunError{StatusCannotRun, fmt.Errorf("waiting for the command: %w", err)}
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return signalled + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

func notRun(name string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return &NotRunError{StatusNotFound, fmt.Errorf("%s: no such command", name)}
	case errors.Is(err, fs.ErrPermission):
		return &NotRunError{StatusCannotRun, fmt.Errorf("%s: it may not be run: is it executable?", name)}
	}
	return &NotRunError{StatusCannotRun, fmt.Errorf("%s: %w", name, err)}
}

// fromTerminal reports whether a signal is one that a terminal sends to each process of
// the foreground group by itself.
func fromTerminal(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGWINCH
}

// shareTerminal reports whether this process and its child are in the foreground of a
// terminal: then the child has had the terminal's signal, and a second ^C would mean
// something else to it.
func shareTerminal(stdin *os.File) bool {
	if stdin == nil {
		return false
	}
	foreground, err := unix.IoctlGetInt(int(stdin.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}
