package test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestFailuresShowTheirOwnMessages: of a log with good and bad tests, side by side
// and one below the other, what is shown is what the bad ones said.
func TestFailuresShowTheirOwnMessages(t *testing.T) {
	const log = `=== RUN   TestGood
    good_test.go:3: a good test says something
--- PASS: TestGood (0.00s)
=== RUN   TestBad
    bad_test.go:7: first line
        and its second

        and its last
{"level":"INFO","msg":"a line of the server's log"}
=== RUN   TestBad/one
    bad_test.go:9: said by one
=== RUN   TestBad/two
    bad_test.go:9: said by two
=== NAME  TestBad
    bad_test.go:11: said after them
--- FAIL: TestBad (0.01s)
    --- FAIL: TestBad/one (0.00s)
    --- PASS: TestBad/two (0.00s)
=== RUN   TestSide
=== PAUSE TestSide
=== RUN   TestByside
=== PAUSE TestByside
=== CONT  TestSide
=== CONT  TestByside
    side_test.go:4: said by its neighbour
=== NAME  TestSide
    side_test.go:5: said by itself
--- PASS: TestByside (0.00s)
--- FAIL: TestSide (0.00s)
FAIL
FAIL	example.com/a	0.012s
=== RUN   TestSide
    other_test.go:2: of the same name, in another package
--- PASS: TestSide (0.00s)
PASS
ok  	example.com/b	0.012s
# example.com/c
c/c.go:3:2: undefined: nothing
FAIL	example.com/c [build failed]
=== RUN   TestPanics
--- FAIL: TestPanics (0.00s)
panic: out of reach [recovered]
goroutine 7 [running]:
FAIL	example.com/d	0.012s
`
	const want = `--- TestBad
    bad_test.go:7: first line
        and its second

        and its last
    bad_test.go:11: said after them
--- TestBad/one
    bad_test.go:9: said by one
--- TestSide
    side_test.go:5: said by itself
# example.com/c
c/c.go:3:2: undefined: nothing
--- TestPanics
panic: out of reach [recovered]
goroutine 7 [running]:
`
	if got := failures(t, log); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestFailuresAreBounded: of what one test says, the beginning and the end.
func TestFailuresAreBounded(t *testing.T) {
	var log strings.Builder
	log.WriteString("=== RUN   TestLong\n    long_test.go:1: begin\n" + strings.Repeat("        more\n", 500) + "        the end\n--- FAIL: TestLong (0.00s)\n")
	got := failures(t, log.String())
	lines := strings.Split(strings.TrimRight(got, "\n"), "\n")
	if len(lines) != 62 || lines[1] != "    long_test.go:1: begin" || lines[61] != "        the end" || !strings.Contains(lines[13], "442 lines left out") {
		t.Errorf("%d lines:\n%s", len(lines), got)
	}
}

func failures(t *testing.T, log string) string {
	t.Helper()
	cmd := exec.Command("awk", "-f", "failures.awk")
	cmd.Stdin = strings.NewReader(log)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
