// Command bench measures Cambio beside the bare work that it does, on one machine
// in one run, and tries what a kill -9 under load loses.
//
//	go run ./bench           the table, and bench/latest.txt
//	go run ./bench providers crowds at one provider, its outage, its throttling
//	go run ./bench crash     kill -9 of the server and of PostgreSQL under load
//	go run ./bench audit N   pages and summaries on N exchanges (10,000,000)
//	go run ./bench fill N    makes these ready in the folder BENCH_AUDIT_KEEP
//	go run ./bench agent     the workload's side: the agent, its proxy, both clients
//	go run ./bench start B…  size, start and idle memory of binaries
//
// With BENCH_AUDIT_KEEP the exchanges of the audit stay for the next run; without,
// they are deleted at the end.
//
// PostgreSQL runs durably (fsync and synchronous_commit on). The generator is in
// this process, so it shares the cores with what it drives. Everything stays on
// loopback, and each step is bounded in time and count.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 1:
		err = runTable(ctx)
	case len(os.Args) == 2 && os.Args[1] == "crash":
		err = runCrash(ctx)
	case len(os.Args) == 2 && os.Args[1] == "providers":
		err = runProviders(ctx)
	case len(os.Args) == 2 && os.Args[1] == "agent":
		err = runAgent(ctx)
	case len(os.Args) <= 3 && (os.Args[1] == "audit" || os.Args[1] == "fill"):
		n := 10_000_000
		if len(os.Args) == 3 {
			n, err = strconv.Atoi(os.Args[2])
		}
		if err == nil && n < 1000 {
			err = errors.New("the audit is measured on 1000 exchanges at least")
		}
		if err == nil {
			err = runAudit(ctx, n, os.Args[1] == "audit")
		}
	case len(os.Args) > 2 && os.Args[1] == "start":
		err = runStart(ctx, os.Args[2:])
	case len(os.Args) == 5 && os.Args[1] == "floor": // started by the table, as a process of its own
		err = runFloor(ctx, os.Args[2], os.Args[3], os.Args[4])
	default:
		fmt.Fprintln(os.Stderr, "usage: go run ./bench [agent | crash | providers | audit [N] | fill [N] | start BINARY…]")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// say reports progress; the table goes to stdout.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
