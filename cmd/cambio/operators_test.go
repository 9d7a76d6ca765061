package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
)

// TestOperatorsAtOnce: several operators at the deny door at the same moment. What
// they ask alike is done once, what they ask apart is all done, and nobody is told
// of a fault of ours.
func TestOperatorsAtOnce(t *testing.T) {
	const operators = 8
	p := startDev(t)
	token, err := os.ReadFile(devworld.OperatorToken(p.ready.DataDir))
	if err != nil {
		t.Fatal(err)
	}
	type said struct {
		status int
		Deny   denyRow   `json:"deny"`
		Epoch  string    `json:"epoch"`
		Denies []denyRow `json:"denies"`
	}
	call := func(method, path, body string) (s said) {
		r, err := http.NewRequest(method, p.ready.URL+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return s
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return s
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || json.Unmarshal(text, &s) != nil || resp.StatusCode >= 500 {
			t.Errorf("%s %s: %d %s %v", method, path, resp.StatusCode, text, err)
		}
		s.status = resp.StatusCode
		return s
	}
	// together asks as everybody at once, and counts the answers by status.
	together := func(ask func(operator int) said) (answers []said, by map[int]int) {
		answers, by = make([]said, operators), map[int]int{}
		begin := make(chan struct{})
		var all sync.WaitGroup
		for i := range operators {
			all.Go(func() {
				<-begin
				answers[i] = ask(i)
			})
		}
		close(begin)
		all.Wait()
		for _, a := range answers {
			by[a.status]++
		}
		return answers, by
	}
	newID := func() string {
		id, err := exchange.NewID(time.Now(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return id.String()
	}
	add := func(id, subject string) string {
		return fmt.Sprintf(`{"match": {"subject": %q}, "reason": "INC-7", "request_id": %q}`, subject, id)
	}

	same := newID()
	answers, by := together(func(int) said { return call("POST", "/v1/denies", add(same, "k8s:cluster:agents:a")) })
	if by[http.StatusOK] != operators {
		t.Errorf("the same request: %v", by)
	}
	for _, a := range answers {
		if a.Deny.Deny != same || a.Epoch != answers[0].Epoch {
			t.Errorf("the same request came to deny %s of epoch %s, and to %s of %s", a.Deny.Deny, a.Epoch, answers[0].Deny.Deny, answers[0].Epoch)
		}
	}

	disputed := newID()
	_, by = together(func(i int) said {
		return call("POST", "/v1/denies", add(disputed, fmt.Sprintf("k8s:cluster:agents:%d", i)))
	})
	if by[http.StatusOK] != 1 || by[http.StatusBadRequest] != operators-1 {
		t.Errorf("one id for different denies: %v", by)
	}

	answers, by = together(func(i int) said { return call("POST", "/v1/denies", add(newID(), fmt.Sprintf("k8s:cluster:b:%d", i))) })
	epochs := map[string]bool{}
	for _, a := range answers {
		epochs[a.Epoch] = true
	}
	if by[http.StatusOK] != operators || len(epochs) != operators {
		t.Errorf("different denies: %v, of %d epochs", by, len(epochs))
	}
	if list := call("GET", "/v1/denies?page_size=1000", ""); len(list.Denies) != 2+operators {
		t.Errorf("%d denies are in force, want %d", len(list.Denies), 2+operators)
	}

	_, by = together(func(int) said { return call("DELETE", "/v1/denies/"+same, "") })
	if by[http.StatusOK] != 1 || by[http.StatusNotFound] != operators-1 {
		t.Errorf("removing one: %v", by)
	}
	answers, by = together(func(i int) said { // one puts in force what another takes away
		if i%2 == 0 {
			return call("DELETE", "/v1/denies/"+answers[i].Deny.Deny, "")
		}
		return call("POST", "/v1/denies", add(newID(), "k8s:cluster:agents:a"))
	})
	if by[http.StatusOK] != operators {
		t.Errorf("adding and removing: %v, %v", by, answers)
	}
	if list := call("GET", "/v1/denies?page_size=1000", ""); len(list.Denies) != 1+operators {
		t.Errorf("%d denies are in force, want %d", len(list.Denies), 1+operators)
	}
	p.stop()
}
