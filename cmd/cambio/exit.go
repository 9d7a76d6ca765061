package main

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// The exit statuses, on which scripts rely.
const (
	statusDone        = 0
	statusFault       = 1 // refused, denied, or something is wrong
	statusUsage       = 2
	statusUnreachable = 3
)

// failure is an error with its exit status. An error without one that comes out
// of a command is a fault; one that cobra makes is wrong usage.
type failure struct {
	status int
	err    error // nil: everything has been said already
}

func (f *failure) Error() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// usage says that the command line is wrong.
func usage(format string, args ...any) error {
	return &failure{status: statusUsage, err: fmt.Errorf(format, args...)}
}

// unreachable says that a server or a database did not answer.
func unreachable(err error) error { return &failure{status: statusUnreachable, err: err} }

// errSaid ends a command that has printed its answer, and the answer is no.
var errSaid = &failure{status: statusFault}

// statusOf is the exit status for what a command line came to, after the error
// has been printed.
func statusOf(err error, stderr io.Writer) int {
	if err == nil {
		return statusDone
	}
	var known *failure
	status := statusUsage
	if errors.As(err, &known) {
		status = known.status
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(stderr, "cambio: %s\n", text)
	}
	if status == statusUsage {
		fmt.Fprintln(stderr, "Run the command with --help to see how it is used.")
	}
	return status
}

// asFailure gives a command's error a status, if it has none.
func asFailure(err error) error {
	var known *failure
	if err == nil || errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return &failure{status: statusFault, err: errors.New("interrupted")}
	}
	return &failure{status: statusFault, err: err}
}
