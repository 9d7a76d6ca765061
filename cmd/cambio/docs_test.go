package main

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/exchange/outbound"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider/all"
	"github.com/cambio-sts/cambio/exchange/subject"
	"github.com/cambio-sts/cambio/server"
)

// page reads one of the guides.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fenced are the blocks of a language, without their fences.
func fenced(text, language string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// rows are the cells of the tables in a section, which ends at the next heading;
// the heads of the tables are left out.
func rows(t *testing.T, text, heading string) [][]string {
	t.Helper()
	_, section, ok := strings.Cut(text, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("there is no heading %q", heading)
	}
	if end := regexp.MustCompile(`(?m)^#+ `).FindStringIndex(section); end != nil {
		section = section[:end[0]]
	}
	var found [][]string
	body := false
	for line := range strings.Lines(section) {
		inner, isRow := strings.CutPrefix(strings.TrimSpace(line), "|")
		switch {
		case !isRow:
			body = false
		case strings.HasPrefix(inner, "---"):
			body = true
		case body:
			cells := strings.Split(strings.TrimSuffix(inner, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			found = append(found, cells)
		}
	}
	if len(found) == 0 {
		t.Fatalf("there is no table under %q", heading)
	}
	return found
}

var quoted = regexp.MustCompile("`([^`]*)`")

// words are what stands between backticks, in order.
func words(text string) []string {
	var out []string
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// TestDocsPolicy: each policy of the guide loads as a server would load it, and the
// cases after it pass.
func TestDocsPolicy(t *testing.T) {
	var revision *policy.Revision
	text := page(t, "policy.md")
	policies, cases := 0, 0
	for _, block := range fenced(text, "yaml") {
		switch {
		case strings.HasPrefix(block, "# policy\n"):
			policies++
			verifier := subject.New(subject.Options{
				Client: func(string) (*http.Client, error) { return outbound.Client(outbound.Options{}) },
				Now:    time.Now,
			})
			var err error
			revision, err = policy.Load(fstest.MapFS{"policy.yaml": {Data: []byte(block)}}, policy.Options{
				Providers: all.Registry(), CheckTrusts: verifier.Check,
			})
			if err != nil {
				t.Fatalf("%v\nin\n%s", err, block)
			}
			if policies == 1 && !strings.Contains(text, revision.Hash()) {
				t.Errorf("the transcripts are not of the first policy, whose revision is %s", revision.Hash())
			}
		case strings.HasPrefix(block, "# cases\n"):
			cases++
			results, err := policy.RunTests(fstest.MapFS{"policy_test.yaml": {Data: []byte(block)}}, revision)
			if err != nil || len(results) == 0 {
				t.Errorf("%v\nin\n%s", err, block)
			}
			for _, r := range results {
				if !r.Passed {
					t.Errorf("%s: %s", r.Name, r.Message)
				}
			}
		default:
			t.Errorf("neither # policy nor # cases:\n%s", block)
		}
	}
	if policies == 0 || cases == 0 {
		t.Errorf("%d policies and %d files of cases", policies, cases)
	}
}

var (
	descName   = regexp.MustCompile(`fqName: "([^"]*)"`)
	descLabels = regexp.MustCompile(`(const|variable)Labels: \{([^}]*)\}`)
	series     = regexp.MustCompile(`\bcambio_[a-z_]+`)
)

// metrics are the names that /metrics can show, each with its labels, sorted.
func metrics() map[string][]string {
	m := newMeters(slog.New(slog.NewTextHandler(io.Discard, nil)))
	m.depth(func() int { return 0 })
	m.stray(func() int64 { return 0 })
	descs := make(chan *prometheus.Desc)
	go func() {
		m.registry.Describe(descs)
		close(descs)
	}()
	all := map[string][]string{}
	for d := range descs {
		text := d.String()
		name := descName.FindStringSubmatch(text)[1]
		if !strings.HasPrefix(name, "cambio_") {
			continue // of the Go runtime and of the process
		}
		labels := []string{}
		for _, group := range descLabels.FindAllStringSubmatch(text, -1) {
			for label := range strings.SplitSeq(group[2], ",") {
				if label, _, _ = strings.Cut(label, "="); label != "" {
					labels = append(labels, label)
				}
			}
		}
		slices.Sort(labels)
		all[name] = labels
	}
	return all
}

// TestDocsMetrics: the table has every metric with its labels, and whatever else
// the guide names exists.
func TestDocsMetrics(t *testing.T) {
	text := page(t, "operations.md")
	real := metrics()
	listed := map[string]bool{}
	for _, row := range rows(t, text, "### Every metric") {
		name := words(row[0])[0]
		labels := words(row[1])
		slices.Sort(labels)
		if want, ok := real[name]; !ok || !slices.Equal(labels, want) {
			t.Errorf("%s has the labels %q and not %q", name, want, labels)
		}
		if listed[name] {
			t.Errorf("%s is listed twice", name)
		}
		listed[name] = true
	}
	for name := range real {
		if !listed[name] {
			t.Errorf("%s is not listed", name)
		}
	}
	for _, name := range series.FindAllString(text, -1) {
		base := name
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			base = strings.TrimSuffix(base, suffix)
		}
		if _, ok := real[base]; !ok {
			t.Errorf("there is no metric %s", name)
		}
	}
}

// TestDocsErrors: the table of errors is the table in server/errors.go.
func TestDocsErrors(t *testing.T) {
	text := page(t, "api.md")
	listed := map[string]bool{}
	for _, row := range rows(t, text, "## Errors") {
		kind := words(row[0])[0]
		i := slices.IndexFunc(exchange.Kinds(), func(k exchange.Kind) bool { return k.String() == kind })
		if i < 0 || listed[kind] {
			t.Errorf("%s is no kind, or is listed twice", kind)
			continue
		}
		listed[kind] = true
		want := server.RowOf(exchange.Kinds()[i])
		if got := words(row[1])[0]; got != want.OAuth {
			t.Errorf("%s: error %s, want %s", kind, got, want.OAuth)
		}
		if row[2] != strconv.Itoa(want.HTTP) {
			t.Errorf("%s: status %s, want %d", kind, row[2], want.HTTP)
		}
		if got := words(row[3])[0]; got != want.GRPC.String() {
			t.Errorf("%s: gRPC %s, want %s", kind, got, want.GRPC)
		}
	}
	for _, k := range exchange.Kinds() {
		if !listed[k.String()] {
			t.Errorf("%s is not listed", k)
		}
	}
}

// TestDocsFilter: the fields are those of the ledger, in its order.
func TestDocsFilter(t *testing.T) {
	var listed []ledger.Field
	for _, row := range rows(t, page(t, "api.md"), "### Fields of a filter") {
		listed = append(listed, ledger.Field(words(row[0])[0]))
	}
	if !slices.Equal(listed, ledger.Fields()) {
		t.Errorf("listed are %q, and there are %q", listed, ledger.Fields())
	}
}
