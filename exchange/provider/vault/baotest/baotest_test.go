package baotest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange/provider/vault/baotest"
)

func TestSharedServer(t *testing.T) {
	s := baotest.Start(t)
	if baotest.Start(t) != s {
		t.Error("two servers were started where one does")
	}
	s.Write(t, "secret/data/x", map[string]any{"data": map[string]string{"k": "v"}})
	out, err := s.Shell(t.Context(), "bao kv get -mount=secret -field=k x")
	if err != nil || strings.TrimSpace(string(out)) != "v" {
		t.Errorf("bao says %q: %v", out, err)
	}
}

func TestOwnServerIsSealed(t *testing.T) {
	s := baotest.StartOwn(t)
	if s.Address == baotest.Start(t).Address {
		t.Fatal("it is the shared one")
	}
	unseal := s.Seal(t)
	if _, err := s.Try(t.Context(), "", http.MethodGet, "sys/mounts", nil); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("a sealed server says %v", err)
	}
	unseal()
	if _, err := s.Try(t.Context(), "", http.MethodGet, "sys/mounts", nil); err != nil {
		t.Error(err)
	}
}
