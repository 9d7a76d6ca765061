package file

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/disk"
)

func signalNumber(name string) (syscall.Signal, error) {
	name = "SIG" + strings.TrimPrefix(name, "SIG")
	number := unix.SignalNum(name)
	switch number {
	case 0:
		return 0, fmt.Errorf("no signal is called %s: write HUP, USR1, TERM", name)
	case syscall.SIGKILL, syscall.SIGSTOP:
		return 0, errors.New("no process reads its files again for that: write HUP, USR1, TERM")
	}
	return number, nil
}

func (o *OnChange) signal() error {
	number, err := signalNumber(o.Signal)
	if err != nil {
		return err
	}
	var processes []int
	if o.PIDFile != "" {
		process, err := processOf(o.PIDFile)
		if err != nil {
			return err
		}
		processes = []int{process}
	} else if processes, err = processesCalled("/proc", o.Process); err != nil {
		return err
	}
	for _, process := range processes {
		if err := syscall.Kill(process, number); err != nil {
			return fmt.Errorf("process %d: %w: is it this user's, and still there?", process, err)
		}
	}
	return nil
}

// processOf reads a file that holds the number of a process.
func processOf(path string) (int, error) {
	text, err := disk.ReadOwn(path, 32)
	if err != nil {
		return 0, fmt.Errorf("the process is not known: %w", err)
	}
	process, ok := processNumber(text)
	if !ok || process == os.Getpid() {
		return 0, fmt.Errorf("%s holds no number of another process", path)
	}
	if owner := ownerOf(path); owner != noOwner && owner != 0 && owner != os.Geteuid() && owner != ownerOf("/proc/"+strconv.Itoa(process)) {
		return 0, fmt.Errorf("%s is user %d's, and process %d is another's: who may write the file chooses whom an agent signals", path, owner, process)
	}
	return process, nil
}

const noOwner = -1

// ownerOf is the user whose a file, or a process in proc(5), is; noOwner: it is not known.
func ownerOf(path string) int {
	info, err := os.Lstat(path)
	if err != nil {
		return noOwner
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return noOwner
}

// processNumber is that of one process: zero and less would be groups of them.
func processNumber(text []byte) (int, bool) {
	process, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	return int(process), err == nil && process > 0
}

// processesCalled finds processes by the name of their program, as proc(5) has it, and
// leaves out those whose parent has the same name: they are workers of it.
func processesCalled(proc, name string) ([]int, error) {
	folders, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("processes are found by name on Linux only, use pid_file: %w", err)
	}
	parents := map[int]int{}
	for _, folder := range folders {
		process, err := strconv.Atoi(folder.Name())
		if err != nil || process == os.Getpid() {
			continue
		}
		if parent, ok := called(filepath.Join(proc, folder.Name()), name); ok {
			parents[process] = parent
		}
	}
	var found []int
	for process, parent := range parents {
		if _, worker := parents[parent]; !worker {
			found = append(found, process)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no process is called %q: is it running, and in a pod, is shareProcessNamespace set?", name)
	}
	return found, nil
}

// called reports whether a process has the name, and who its parent is. The kernel cuts
// names after 15 bytes, so the rest is taken from the command line.
func called(folder, name string) (parent int, ok bool) {
	stat, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		return 0, false // it has ended
	}
	short, parent, ok := parseStat(stat)
	const most = 15
	if !ok || short != name[:min(len(name), most)] {
		return 0, false
	}
	if len(name) < most {
		return parent, true
	}
	line, err := os.ReadFile(filepath.Join(folder, "cmdline"))
	first, _, _ := bytes.Cut(line, []byte{0})
	return parent, err == nil && filepath.Base(string(first)) == name
}

// parseStat reads the name and the parent of a process that runs (proc_pid_stat(5)). The
// name stands in parentheses and may hold any byte, so its end is the last.
func parseStat(stat []byte) (name string, parent int, ok bool) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return "", 0, false
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 2 || fields[0][0] == 'Z' {
		return "", 0, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return string(stat[open+1 : end]), parent, err == nil
}
