package main

import (
	"io"
	"strings"
	"testing"
)

func TestShowExchange(t *testing.T) {
	var out strings.Builder
	err := showExchange(&out, []byte(`{"exchange":{"subject":"a\u001bb","actors":["x","y"],"reused":false,"rule":"","epoch":"0","lifetime":"5s"},
		"events":[{"event":"e1","type":"intent","time":"t1"},{"event":"e2","type":"issued","time":"t2"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := "FIELD     VALUE\nsubject   a\uFFFDb\nactors    [\"x\",\"y\"]\nlifetime  5s\n\nTIME  EVENT   ID\nt1    intent  e1\nt2    issued  e2\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// FuzzShowExchange: no answer of a server makes the command panic, or puts a
// control character on the terminal.
func FuzzShowExchange(f *testing.F) {
	f.Add([]byte(`{"exchange":{"subject":"a","claims":{"groups":{"values":["b"]}}},"events":[{"event":"e","type":"issued","time":"t"}]}`))
	f.Add([]byte(`{"exchange":[],"events":{}}`))
	f.Add([]byte(`{"exchange":{"a":"\u001b[2J"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var out strings.Builder
		if err := showExchange(&out, body); err != nil {
			out.Reset()
		}
		if i := strings.IndexFunc(out.String(), func(r rune) bool { return r < ' ' && r != '\n' }); i >= 0 {
			t.Errorf("a control character at %d of %q", i, out.String())
		}
	})
}

// FuzzExchangeAnswer holds the same for the answer of the token endpoint.
func FuzzExchangeAnswer(f *testing.F) {
	f.Add([]byte(`{"access_token":"a"}`), "env")
	f.Add([]byte(`{"access_token":["a"]}`), "token")
	f.Fuzz(func(_ *testing.T, body []byte, output string) {
		_ = (&exchangeFlags{output: output}).print(io.Discard, body) // an error is an answer
	})
}
