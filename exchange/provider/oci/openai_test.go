package oci_test

import (
	"bytes"
	"net/http"
	"testing"
)

// TestTheStandInSpeaksAsOpenAI: signed requests are let in that name a compartment, and
// no bearer is, which clients of OpenAI send by themselves.
func TestTheStandInSpeaksAsOpenAI(t *testing.T) {
	d := newDesk(t)
	c, err := d.vend(t)
	if err != nil {
		t.Fatal(err)
	}
	by := caller{read(t, c).KeyID, makeKey(2048)}
	const path, asked = "/openai/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"Who am I?"}]}`
	if status, _ := d.call(t, by, http.MethodPost, path, asked); status != http.StatusBadRequest {
		t.Errorf("without a compartment: %d", status)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.server.URL+path, bytes.NewReader([]byte(asked)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer sk-of-nobody")
	response, err := d.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a bearer: %d", response.StatusCode)
	}
}
