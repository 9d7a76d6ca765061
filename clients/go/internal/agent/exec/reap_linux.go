package exec

import (
	"bytes"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience is how long a dead child waits for whoever started it. What nobody has waited
// for by then was handed to this process when its parent died.
const patience = time.Second

// reapOrphans buries orphans while this process is who they are handed to: the first of
// a container, or a subreaper (prctl(2)). Children that this process started are left to
// their own Wait.
func reapOrphans() (stop func()) {
	if !heir() {
		return func() {}
	}
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	done := make(chan struct{})
	go func() {
		defer signal.Stop(died)
		dead := map[int]time.Time{} // since when
		var look <-chan time.Time
		for {
			select {
			case <-died:
				look = time.After(0)
			case now := <-look:
				look = nil
				still := map[int]time.Time{}
				for _, pid := range zombies() {
					since, known := dead[pid]
					switch {
					case !known:
						still[pid], look = now, time.After(patience)
					case now.Sub(since) < patience:
						still[pid], look = since, time.After(patience)
					default:
						_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
					}
				}
				dead = still
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}

func heir() bool {
	if os.Getpid() == 1 {
		return true
	}
	var subreaper int32
	return unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0) == nil && subreaper != 0
}

// zombies are the dead children of this process (proc(5), /proc/pid/stat: pid, (comm),
// state, ppid).
func zombies() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var dead []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // comm may hold blanks and brackets
		if len(fields) < 2 || string(fields[0]) != "Z" || string(fields[1]) != strconv.Itoa(os.Getpid()) {
			continue
		}
		dead = append(dead, pid)
	}
	return dead
}
