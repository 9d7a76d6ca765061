// Command cambio-agent gives unmodified programs what they need: it serves the vendors'
// SDKs on loopback, writes files, puts credentials on requests, and starts commands with
// all of that in place.
//
// Exit status: 0 done, 1 refused or at fault, 2 wrong usage, 3 the server cannot be
// reached; `exec` has the status of its command. The result goes to standard output,
// everything else to standard error.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

const (
	// gcPercent collects sooner than Go does by itself: an agent holds little and
	// stands beside each workload, so memory is dearer than its few milliseconds.
	gcPercent = 50
	// memoryLimit is soft: from here on the collector works harder, in bytes. What is
	// held for requests under way is bounded elsewhere.
	memoryLimit = 48 << 20
)

func main() {
	// Who sets GOGC or GOMEMLIMIT knows better.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := execute(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}
