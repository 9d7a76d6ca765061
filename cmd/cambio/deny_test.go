package main

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// TestS31ThreeReplicasStopTogether: three servers on one database under load; an
// operator denies a subject at one of them. Then the ledger is asked whether
// anything was issued after the deny's event that the deny covers, or that was
// decided before it.
func TestS31ThreeReplicasStopTogether(t *testing.T) {
	database := pgtest.Start(t, pgtest.Durable()).NewDatabase(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "policy"), 0o700); err != nil {
		t.Fatal(err)
	}
	cluster := newCluster(t, filepath.Join(dir, "policy", "keys.json"))
	for name, text := range map[string]string{
		"cambio.yaml":        realConfig + "limits: {subject_per_second: 100000}\n",
		"policy/policy.yaml": realPolicy + "  operator: [{trust: prod, namespace: operations}]\n",
		"operator.jwt":       cluster.token("operations", "olga"),
		"auditor.jwt":        cluster.token("audit", "ada"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seal := make([]byte, 32)
	_, _ = rand.Read(seal)
	service := []string{"DATABASE_URL=" + database.ServiceDSN(), "SEAL=" + base64.StdEncoding.EncodeToString(seal)}
	run := func(args ...string) (out string, status int) {
		t.Helper()
		cmd := exec.Command("cambio", args...)
		cmd.Dir, cmd.Env = dir, append(append(os.Environ(), service...), "CAMBIO_OWNER_DSN="+database.OwnerDSN())
		text, _ := cmd.CombinedOutput() // the status says it
		return string(text), cmd.ProcessState.ExitCode()
	}
	if out, status := run("migrate"); status != 0 {
		t.Fatal(out)
	}
	replicas := []*process{start(t, dir, service, "serve"), start(t, dir, service, "serve"), start(t, dir, service, "serve")}

	const thief, honest = "thief", "honest"
	var issued, refused map[string]*atomic.Int64 = map[string]*atomic.Int64{thief: {}, honest: {}}, map[string]*atomic.Int64{thief: {}, honest: {}}
	var inForce atomic.Bool
	var late atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for _, replica := range replicas {
		for _, who := range []string{thief, honest, thief, honest} {
			form := url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "audience": {"mcp"},
				"subject_token": {cluster.token("llm", who)}, "subject_token_type": {tokenTypePrefix + "jwt"},
			}
			load.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					denied := inForce.Load()
					resp, err := http.PostForm(replica.ready.URL+"/oauth2/token", form)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						refused[who].Add(1)
						continue
					}
					if issued[who].Add(1); denied && who == thief {
						late.Add(1)
					}
				}
			})
		}
	}
	if !eventually(func() bool { return issued[thief].Load() > 200 && issued[honest].Load() > 200 }) {
		t.Errorf("issued %d and %d", issued[thief].Load(), issued[honest].Load())
	}
	at := []string{"--url", replicas[1].ready.URL, "--token-file"}
	out, status := run(append([]string{"deny", "add", "--subject", "k8s:prod:llm:" + thief, "--reason", "INC-7", "--output", "json"}, append(at, "operator.jwt")...)...)
	inForce.Store(true)
	if status != 0 {
		t.Errorf("deny add: exit status %d, %s", status, out)
	}
	dying := strings.Count(out, `"state":"STATE_REFUSED"`)
	after := issued[honest].Load()
	if !eventually(func() bool { return refused[thief].Load() > 200 && issued[honest].Load() > after+200 }) {
		t.Errorf("refused %d, issued to others %d since the deny", refused[thief].Load(), issued[honest].Load()-after)
	}
	close(stop)
	load.Wait()

	conn, err := pgx.Connect(t.Context(), database.OwnerDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	// A transaction that S31's lock holds back gets its number after the deny's.
	var before, covered, stale, others, denials int
	err = conn.QueryRow(t.Context(), `
		select
			count(*) filter (where type = 2 and e.tx < d.tx and thief),
			count(*) filter (where type = 2 and e.tx > d.tx and thief),
			count(*) filter (where type = 2 and e.tx > d.tx and epoch < 1),
			count(*) filter (where type = 2 and e.tx > d.tx and not thief),
			count(*) filter (where type = 3 and e.tx > d.tx and thief)
		from (select tx, type, record->>'subject' = 'k8s:prod:llm:thief' as thief, coalesce((record->>'epoch')::bigint, 0) as epoch from cambio.events) e,
			(select tx from cambio.events where type = 10) d`).Scan(&before, &covered, &stale, &others, &denials)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("three replicas: %d issued to the subject before the deny's event, %d after it; %d denied, %d issued to another subject after it; decided before it and appended after it: %d; %d outstanding credentials listed",
		before, covered, denials, others, stale, dying)
	if covered != 0 || stale != 0 || late.Load() != 0 {
		t.Errorf("issued after the deny: %d that it covers, %d decided before it; %d answers after the command had returned", covered, stale, late.Load())
	}
	if before < 200 || others < 200 || denials == 0 || dying != before {
		t.Errorf("too little happened, or too little was told: %d before, %d outstanding, %d others, %d denied", before, dying, others, denials)
	}

	if out, status := run(append([]string{"deny", "add", "--trust", "prod", "--reason", "r"}, append(at, "auditor.jwt")...)...); status != statusFault || !strings.Contains(out, "operator") {
		t.Errorf("an auditor: exit status %d, %s", status, out)
	}
	list, status := run(append([]string{"deny", "list"}, append(at, "auditor.jwt")...)...)
	if status != 0 || !strings.Contains(list, "subject=k8s:prod:llm:thief") || !strings.Contains(list, "INC-7") {
		t.Errorf("deny list: exit status %d, %s", status, list)
	}
	fields := strings.Fields(list)
	id := fields[len(fields)-1]
	if out, status := run(append([]string{"deny", "remove", id}, append(at, "operator.jwt")...)...); status != 0 || out != "" {
		t.Errorf("deny remove: exit status %d, %s", status, out)
	}
	if out, status := run(append([]string{"audit", "show", id}, append(at, "auditor.jwt")...)...); status != 0 || !strings.Contains(out, "deny_added") || !strings.Contains(out, "deny_removed") {
		t.Errorf("the deny's history: exit status %d, %s", status, out)
	}
	for _, replica := range replicas {
		exchanged := eventually(func() bool {
			resp, err := http.PostForm(replica.ready.URL+"/oauth2/token", url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "audience": {"mcp"},
				"subject_token": {cluster.token("llm", thief)}, "subject_token_type": {tokenTypePrefix + "jwt"},
			})
			if err != nil {
				return false
			}
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
		if !exchanged {
			t.Error("still denied after the removal")
		}
		replica.stop()
	}
}
