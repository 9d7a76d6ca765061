//go:build cluster

// Package testcluster tries Cambio against a real Kubernetes API server: tokens
// by TokenRequest, keys by discovery, TokenReview in each mode, a deleted pod, a
// rotated key, and the minute of expiry that TokenReview forgives.
package testcluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const adminToken = "cluster-admin-for-this-test-only"

// cluster is one etcd and one kube-apiserver on loopback, for one test run.
type cluster struct {
	dir     string
	url     string
	ca      string // file
	address string
	etcd    string
	api     *exec.Cmd
	client  *http.Client
	keys    []string // private key files; the last one signs
}

// startCluster starts both servers and waits until the API server is ready.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	etcd, apiserver := os.Getenv("CAMBIO_ETCD"), os.Getenv("CAMBIO_KUBE_APISERVER")
	if etcd == "" || apiserver == "" {
		t.Fatal("run this by `make test-cluster`, which builds what it needs")
	}
	c := &cluster{dir: t.TempDir(), address: freeAddress(t)}
	c.url = "https://" + c.address
	c.ca = filepath.Join(c.dir, "certs", "apiserver.crt")
	clients, peers := "http://"+freeAddress(t), "http://"+freeAddress(t)
	c.etcd = clients
	c.start(t, "etcd", etcd, "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
	write(t, filepath.Join(c.dir, "tokens.csv"), adminToken+",admin,1,system:masters\n")
	write(t, filepath.Join(c.dir, "admin-token"), adminToken)
	c.keys = []string{c.newKey(t, "sa1")}
	c.startAPIServer(t, c.keys...)
	c.post(t, "/api/v1/namespaces", object{"metadata": object{"name": "payments"}})
	c.post(t, "/api/v1/namespaces/payments/serviceaccounts", object{"metadata": object{"name": "worker"}})
	c.post(t, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", object{
		"metadata": object{"name": "discovery-for-all"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
		"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"}},
	})
	return c
}

// startAPIServer runs the API server with the keys given: all verify, the last
// one signs.
func (c *cluster) startAPIServer(t *testing.T, keys ...string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(c.address)
	args := []string{
		"--etcd-servers=" + c.etcd, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--secure-port=" + port, "--cert-dir=" + filepath.Join(c.dir, "certs"),
		"--service-account-issuer=" + c.url, "--service-account-signing-key-file=" + keys[len(keys)-1],
		"--api-audiences=" + c.url + ",cambio", "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC",
		"--token-auth-file=" + filepath.Join(c.dir, "tokens.csv"), "--disable-admission-plugins=ServiceAccount",
		"--endpoint-reconciler-type=none", "--feature-gates=DetectCacheInconsistency=false",
	}
	for _, k := range keys {
		args = append(args, "--service-account-key-file="+k)
	}
	c.api = c.start(t, "kube-apiserver", os.Getenv("CAMBIO_KUBE_APISERVER"), args...)
	deadline := time.Now().Add(60 * time.Second)
	for !c.isReady() {
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(c.dir, "kube-apiserver.log"))
			t.Fatalf("the API server was not ready in a minute:\n%s", log[max(0, len(log)-4000):])
		}
		time.Sleep(100 * time.Millisecond) // a real server's start, polled
	}
}

func (c *cluster) isReady() bool {
	pemBytes, err := os.ReadFile(c.ca)
	if err != nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pemBytes)
	c.client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	request, _ := http.NewRequest(http.MethodGet, c.url+"/readyz", nil)
	request.Header.Set("Authorization", "Bearer "+adminToken)
	response, err := c.client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// rotate restarts the API server with other keys.
func (c *cluster) rotate(t *testing.T, keys ...string) {
	t.Helper()
	_ = c.api.Process.Kill()
	_, _ = c.api.Process.Wait()
	c.startAPIServer(t, keys...)
}

func (c *cluster) start(t *testing.T, name, binary string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
		_ = log.Close()
	})
	return cmd
}

// newKey makes an RSA key for service-account tokens and returns its file.
func (c *cluster) newKey(t *testing.T, name string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.dir, name+".key")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	return file
}

type object = map[string]any

// post creates an object and returns the answer.
func (c *cluster) post(t *testing.T, path string, body object) object {
	t.Helper()
	return c.call(t, http.MethodPost, path, body)
}

func (c *cluster) call(t *testing.T, method, path string, body object) object {
	t.Helper()
	payload, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(context.Background(), method, c.url+path, bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+adminToken)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s: %s", method, path, response.Status, text)
	}
	var answer object
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// pod makes a pod of payments/worker, assigned to a node that need not exist, and
// returns its uid.
func (c *cluster) pod(t *testing.T, name string) string {
	t.Helper()
	made := c.post(t, "/api/v1/namespaces/payments/pods", object{
		"metadata": object{"name": name},
		"spec": object{
			"serviceAccountName": "worker", "nodeName": "node-1",
			"containers": []object{{"name": "c", "image": "none.example/none"}},
		},
	})
	return made["metadata"].(object)["uid"].(string)
}

func (c *cluster) deletePod(t *testing.T, name string) {
	t.Helper()
	c.call(t, http.MethodDelete, "/api/v1/namespaces/payments/pods/"+name, object{"gracePeriodSeconds": 0})
}

// token asks TokenRequest for a token of payments/worker.
func (c *cluster) token(t *testing.T, audience, pod, uid string) string {
	t.Helper()
	spec := object{"audiences": []string{audience}, "expirationSeconds": 600}
	if pod != "" {
		spec["boundObjectRef"] = object{"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid}
	}
	answer := c.post(t, "/api/v1/namespaces/payments/serviceaccounts/worker/token", object{"spec": spec})
	return answer["status"].(object)["token"].(string)
}

// reviewed asks the API server itself what it thinks of a token.
func (c *cluster) reviewed(t *testing.T, token string) bool {
	t.Helper()
	answer := c.post(t, "/apis/authentication.k8s.io/v1/tokenreviews", object{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
		"spec": object{"token": token, "audiences": []string{"cambio"}},
	})
	authenticated, _ := answer["status"].(object)["authenticated"].(bool)
	return authenticated
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(fmt.Errorf("writing %s: %w", file, err))
	}
}
