package format_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/format"
)

func TestParseExecInfo(t *testing.T) {
	for _, c := range []struct {
		text string
		want format.ExecInfo
	}{
		{"", format.ExecInfo{APIVersion: "client.authentication.k8s.io/v1"}},
		{
			`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":true}}`,
			format.ExecInfo{APIVersion: "client.authentication.k8s.io/v1", Interactive: true},
		},
		{
			`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"cluster":{"server":"https://k8s.example","certificate-authority-data":"AA==","config":{"x":1}},"interactive":false}}`,
			format.ExecInfo{APIVersion: "client.authentication.k8s.io/v1beta1", Server: "https://k8s.example"},
		},
	} {
		if got, err := format.ParseExecInfo(c.text); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", c.text, got, err)
		}
	}
	for text, says := range map[string]string{
		"{":    "no ExecCredential",
		"null": "no ExecCredential",
		`{"kind":"Pod","apiVersion":"client.authentication.k8s.io/v1"}`:                           "no ExecCredential",
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1alpha1"}`:          "v1alpha1",
		`{"kind":"ExecCredential","apiVersion":"v1"}`:                                             "set apiVersion",
		`{"kind":"ExecCredential"` + strings.Repeat(" ", 1<<20) + `}`:                             "no ExecCredential",
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",` + `"spec":[]}`: "no ExecCredential",
	} {
		_, err := format.ParseExecInfo(text)
		fails(t, err, says)
	}
}

func TestExecInfoFor(t *testing.T) {
	if err := (format.ExecInfo{Server: "https://k8s.example:6443/"}).For("https://k8s.example:6443"); err != nil {
		t.Error(err)
	}
	fails(t, format.ExecInfo{Server: "https://evil.example"}.For("https://k8s.example"), "kubectl asks for another")
	fails(t, format.ExecInfo{}.For("https://k8s.example"), "provideClusterInfo")
}

// kubectl runs this binary, where there is a kubectl; elsewhere TestWrite's bytes have to
// do, which are those of the published schema.
func TestExecByKubectl(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Log("no kubectl is at hand")
		return
	}
	var good atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		good.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"major": "1", "minor": "32", "gitVersion": "v1.32.0"})
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	ca := filepath.Join(home, "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"v1", "v1beta1"} {
		for _, cluster := range []string{server.URL, "https://other.example"} {
			config := filepath.Join(home, "config")
			text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: %q, certificate-authority: %q}}]
users:
- name: u
  user:
    exec:
      apiVersion: client.authentication.k8s.io/%s
      command: %q
      interactiveMode: Never
      provideClusterInfo: true
      env:
      - {name: CAMBIO_FORMAT_TEST, value: kubectl}
      - {name: CAMBIO_FORMAT_SERVER, value: %q}
`, server.URL, ca, version, self, cluster)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			good.Store(0)
			command := exec.CommandContext(t.Context(), kubectl, "--kubeconfig", config, "get", "--raw", "/version")
			command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
			out, err := command.CombinedOutput()
			if ours := cluster == server.URL; ours != (err == nil && good.Load() > 0) {
				t.Errorf("%s, for %s: %v: %s", version, cluster, err, out)
			}
		}
	}
}

func FuzzParseExecInfo(f *testing.F) {
	f.Add(`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":true}}`)
	f.Fuzz(func(t *testing.T, text string) {
		info, err := format.ParseExecInfo(text)
		if err == nil && !strings.HasPrefix(info.APIVersion, "client.authentication.k8s.io/v1") {
			t.Errorf("%q asks for %q", text, info.APIVersion)
		}
	})
}
