package door_test

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
)

// trusting is a client of the agent's own CA.
func trusting(t *testing.T, ca string) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		t.Fatal("the file holds no CA")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// secretOf is the secret of the room, from where SDKs have it.
func secretOf(t *testing.T, a *agent) string {
	t.Helper()
	env := a.Env(a.bound)
	for _, name := range []string{"IDENTITY_HEADER", "VAULT_TOKEN"} {
		if env[name] != "" {
			return env[name]
		}
	}
	for _, name := range []string{"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "WATSONX_CR_TOKEN_FILENAME"} {
		if env[name] != "" {
			return read(t, env[name])
		}
	}
	return read(t, filepath.Dir(env["OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH"]), "secret")
}

// call is one request that a door answers, before something is changed about it.
type call struct {
	address string // bound
	tls     *tls.Config
	secret  string
	make    func() *http.Request
	// wrong takes the proof away: "" leaves it out.
	wrong func(r *http.Request, proof string)
}

func form(values url.Values) io.Reader { return strings.NewReader(values.Encode()) }

// calls are a good request for each door, all at one address, save proxymux.
func calls(t *testing.T) (*agent, map[string]call) {
	t.Helper()
	dir := t.TempDir()
	muxAddress, _ := proxymuxAddress(t)
	settings := door.Settings{
		Listen: loopback, SecretFile: filepath.Join(dir, "secret"),
		AWS:   &door.AWS{Target: "bedrock"},
		GCE:   &door.GCE{Target: "vertex", Project: "p", UIDs: []uint32{uint32(os.Getuid())}},
		Azure: &door.Azure{Target: "azure-openai"},
		IBM:   &door.IBM{Target: "watsonx", Service: "WATSONX", ProfileID: "Profile-1"},
		Vault: &door.Vault{Targets: []string{"db"}},
		OCI: &door.OCI{Proxymux: &door.Proxymux{
			Target: "oci-genai", Listen: muxAddress, CAFile: filepath.Join(dir, "ca.pem"), Region: "us-ashburn-1",
		}},
	}
	a := open(t, newCambio(t), settings, nil)
	if err := a.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	secret := secretOf(t, a)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	podKey, _ := json.Marshal(map[string]string{"podKey": base64.StdEncoding.EncodeToString(der)})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(read(t, dir, "ca.pem")))
	own, mux := a.bound[loopback], a.bound[muxAddress]

	request := func(method, target string, body func() io.Reader, header ...string) func() *http.Request {
		return func() *http.Request {
			var b io.Reader
			if body != nil {
				b = body()
			}
			r, err := http.NewRequest(method, target, b)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			return r
		}
	}
	inHeader := func(name, scheme string) func(*http.Request, string) {
		return func(r *http.Request, proof string) {
			if r.Header.Del(name); proof != "" {
				r.Header.Set(name, scheme+proof)
			}
		}
	}
	crForm := func(token string) url.Values {
		v := url.Values{"grant_type": {"urn:ibm:params:oauth:grant-type:cr-token"}, "profile_id": {"Profile-1"}}
		if token != "" {
			v.Set("cr_token", token)
		}
		return v
	}
	return a, map[string]call{
		"aws":   {own, nil, secret, request("GET", "http://"+own+"/aws/bedrock", nil, "Authorization", secret), inHeader("Authorization", "")},
		"azure": {own, nil, secret, request("GET", "http://"+own+"/azure/token?api-version=2019-08-01&resource=https%3A%2F%2Fx", nil, "X-Identity-Header", secret), inHeader("X-Identity-Header", "")},
		"gce":   {own, nil, "Google", request("GET", "http://"+own+"/computeMetadata/v1/instance/service-accounts/default/token", nil, "Metadata-Flavor", "Google"), inHeader("Metadata-Flavor", "")},
		"ibm": {own, nil, secret, request("POST", "http://"+own+"/ibm/identity/token", func() io.Reader { return form(crForm(secret)) }, "Content-Type", "application/x-www-form-urlencoded"),
			func(r *http.Request, proof string) {
				text := crForm(proof).Encode()
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			}},
		"vault": {own, nil, secret, request("GET", "http://"+own+"/v1/secret/data/db", nil, "X-Vault-Token", secret), inHeader("X-Vault-Token", "")},
		"oci": {mux, &tls.Config{RootCAs: pool, ServerName: "localhost"}, secret,
			request("POST", "https://"+mux+"/resourcePrincipalSessionTokens", func() io.Reader { return strings.NewReader(string(podKey)) }, "Authorization", "Bearer "+secret, "Content-Type", "application/json"),
			inHeader("Authorization", "Bearer ")},
	}
}

// send writes a request as it is, by write, and reads the answer. It may be called by any
// goroutine; an answer that does not come has status 0.
func (c call) send(t *testing.T, r *http.Request, write func(io.Writer) error) (*http.Response, string) {
	t.Helper()
	resp, text, err := c.try(r, write)
	if err != nil {
		t.Error(err)
		return &http.Response{Status: "no answer", Header: http.Header{}}, ""
	}
	return resp, text
}

func (c call) try(r *http.Request, write func(io.Writer) error) (*http.Response, string, error) {
	conn, err := net.Dial("tcp", c.address)
	if err != nil {
		return nil, "", err
	}
	defer conn.Close()
	if c.tls != nil {
		conn = tls.Client(conn, c.tls)
	}
	if err := write(conn); err != nil {
		return nil, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

func header(name string, values ...string) func(call, *http.Request) {
	return func(_ call, r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

func host(name func(c call) string) func(call, *http.Request) {
	return func(c call, r *http.Request) { r.Host = name(c) }
}

func port(c call) string {
	_, port, _ := net.SplitHostPort(c.address)
	return port
}

func TestS36EveryDoorRefusesWhatNoSDKSends(t *testing.T) {
	a, doors := calls(t)
	for name, c := range doors {
		t.Run(name, func(t *testing.T) {
			r := c.make()
			resp, text := c.send(t, r, r.Write)
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" || text == "" {
				t.Fatalf("the good request: %s", resp.Status)
			}
			before := vendedBy(a)
			for fault, f := range map[string]struct {
				change func(call, *http.Request)
				proxy  bool // in absolute form
				want   []int
			}{
				"Origin":               {header("Origin", "http://localhost"), false, []int{403}},
				"an empty Origin":      {header("Origin", ""), false, []int{403}},
				"Origin null":          {header("Origin", "null"), false, []int{403}},
				"Sec-Fetch-Site":       {header("Sec-Fetch-Site", "same-origin"), false, []int{403}},
				"a rebound name":       {host(func(c call) string { return "evil.example:" + port(c) }), false, []int{403}},
				"a name like loopback": {host(func(c call) string { return "127.0.0.1.evil.example:" + port(c) }), false, []int{403}},
				"localhost's cousin":   {host(func(c call) string { return "localhost.evil.example:" + port(c) }), false, []int{403}},
				"another port":         {host(func(c call) string { return "127.0.0.1:1" }), false, []int{403}},
				"no port":              {host(func(c call) string { return "127.0.0.1" }), false, []int{403}},
				"Google's name":        {host(func(c call) string { return "metadata.google.internal:" + port(c) }), false, []int{403}},
				"another address":      {host(func(c call) string { return "192.0.2.1:" + port(c) }), false, []int{403}},
				"absolute form":        {func(call, *http.Request) {}, true, []int{400}},
				"DELETE":               {func(_ call, r *http.Request) { r.Method = "DELETE" }, false, []int{405}},
				"HEAD":                 {func(_ call, r *http.Request) { r.Method = "HEAD" }, false, []int{405}},
				"OPTIONS":              {func(_ call, r *http.Request) { r.Method = "OPTIONS" }, false, []int{405}},
				"a wrong method": {func(_ call, r *http.Request) {
					r.Method = map[string]string{"GET": "POST", "POST": "GET"}[r.Method]
				}, false, []int{405}},
				"a large body": {func(_ call, r *http.Request) {
					r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<17))), 1<<17
				}, false, []int{413}},
				"a body without length": {func(_ call, r *http.Request) {
					r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<17))), -1, []string{"chunked"}
				}, false, []int{413}},
				"no secret":      {func(c call, r *http.Request) { c.wrong(r, "") }, false, []int{401, 403}},
				"another secret": {func(c call, r *http.Request) { c.wrong(r, strings.Repeat("A", len(c.secret))) }, false, []int{401, 403}},
				"part of it":     {func(c call, r *http.Request) { c.wrong(r, c.secret[:len(c.secret)-1]) }, false, []int{401, 403}},
				"more than it":   {func(c call, r *http.Request) { c.wrong(r, c.secret+"A") }, false, []int{401, 403}},
				"two slashes":    {func(_ call, r *http.Request) { r.URL.Path = "/" + r.URL.Path }, false, []int{400}},
				"escaped slash": {func(_ call, r *http.Request) {
					r.URL.RawPath = strings.Replace(r.URL.Path, "/", "/%2e%2e%2f", 1)
					r.URL.Path, _ = url.PathUnescape(r.URL.RawPath)
				}, false, []int{400}},
			} {
				r := c.make()
				f.change(c, r)
				write := r.Write
				if f.proxy {
					write = r.WriteProxy
				}
				resp, text := c.send(t, r, write)
				good := false
				for _, want := range f.want {
					good = good || resp.StatusCode == want || name == "oci" && want == 403 && resp.StatusCode == 400
				}
				if !good {
					t.Errorf("%s: %s; want %d", fault, resp.Status, f.want)
				}
				if resp.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s: it may be cached", fault)
				}
				tells(t, fault, text)
			}
			if now := vendedBy(a); now != before {
				t.Errorf("refused requests caused %d exchanges", now-before)
			}
		})
	}
}

// tells fails if a refusal says what there is behind the door.
func tells(t *testing.T, fault, text string) {
	t.Helper()
	for _, target := range append(names, vended, "eyJ") {
		if strings.Contains(text, target) {
			t.Errorf("%s: the refusal speaks of %q", fault, target)
		}
	}
}

func vendedBy(a *agent) (n int) {
	for _, name := range names {
		n += a.cambio.Exchanges(name)
	}
	return n
}

// Who has no secret cannot tell a target that is there from one that is not.
func TestS36StrangersLearnNothingOfTargets(t *testing.T) {
	_, doors := calls(t)
	for name, paths := range map[string][2]string{
		"aws":   {"/aws/bedrock", "/aws/none"},
		"vault": {"/v1/secret/data/db", "/v1/secret/data/none"},
		"azure": {"/azure/token?api-version=2019-08-01&resource=https://x", "/azure/token?resource=none"},
		"gce":   {"/computeMetadata/v1/instance/service-accounts/default/token", "/computeMetadata/v1/none"},
	} {
		var answers [2]string
		for i, path := range paths {
			c := doors[name]
			r, err := http.NewRequest(http.MethodGet, "http://"+c.address+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, text := c.send(t, r, r.Write)
			answers[i] = resp.Status + text
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: %q and %q", name, answers[0], answers[1])
		}
	}
}

func TestS36TheMetadataServerLooksWhoAsks(t *testing.T) {
	gce := func(uids ...uint32) door.Settings {
		return door.Settings{Listen: loopback, GCE: &door.GCE{Target: "vertex", Project: "p", UIDs: uids}}
	}
	me := uint32(os.Getuid())
	for name, c := range map[string]struct {
		settings door.Settings
		header   []string
		want     int
	}{
		"mine":              {gce(4242, me), []string{"Metadata-Flavor", "Google"}, 200},
		"another's":         {gce(me + 1), []string{"Metadata-Flavor", "Google"}, 403},
		"forwarded":         {gce(me), []string{"Metadata-Flavor", "Google", "X-Forwarded-For", "127.0.0.1"}, 403},
		"forwarded by none": {gce(me), []string{"Metadata-Flavor", "Google", "X-Forwarded-For", ""}, 403},
		"no flavour":        {gce(me), nil, 403},
		"another flavour":   {gce(me), []string{"Metadata-Flavor", "google"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, newCambio(t), c.settings, nil)
			r, err := http.NewRequest(http.MethodGet, "http://"+a.bound[loopback]+"/computeMetadata/v1/instance/service-accounts/default/token", nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(c.header); i += 2 {
				r.Header.Set(c.header[i], c.header[i+1])
			}
			resp, text := call{address: a.bound[loopback]}.send(t, r, r.Write)
			if resp.StatusCode != c.want || resp.Header.Get("Metadata-Flavor") != "Google" {
				t.Errorf("%s; want %d", resp.Status, c.want)
			}
			if c.want != 200 {
				tells(t, name, text)
			}
		})
	}
}

// An IPv6 socket that comes to an IPv4 address is in another table of the kernel's.
func TestS36TheMetadataServerKnowsAnIPv6Caller(t *testing.T) {
	address := loopback // a machine without IPv6 has no such callers
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		address = "[::1]:0"
		_ = l.Close()
	}
	settings := door.Settings{Listen: address, GCE: &door.GCE{Target: "vertex", Project: "p", UIDs: []uint32{uint32(os.Getuid())}}}
	a := open(t, newCambio(t), settings, nil)
	r, err := http.NewRequest(http.MethodGet, "http://"+a.bound[address]+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Metadata-Flavor", "Google")
	if resp, _ := (call{address: a.bound[address]}).send(t, r, r.Write); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
}

func TestS36NoDoorStandsOpenUnlessConfigured(t *testing.T) {
	a := open(t, newCambio(t), door.Settings{Listen: loopback}, nil)
	if len(a.Handlers()) != 0 || len(a.TLS()) != 0 || len(a.Env(nil)) != 0 {
		t.Errorf("%d handlers, %d variables", len(a.Handlers()), len(a.Env(nil)))
	}
}

func TestS36SecretFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "secret")
	a := open(t, newCambio(t), door.Settings{Listen: loopback, SecretFile: path, Vault: &door.Vault{Targets: []string{"db"}}}, nil)
	if err := a.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := read(t, path)
	if raw, err := base64.RawURLEncoding.DecodeString(text); err != nil || len(raw) != 32 || mode(t, path) != 0o600 {
		t.Errorf("%d bytes, mode %o, %v", len(raw), mode(t, path), err)
	}

	shared := filepath.Join(dir, "shared")
	for name, c := range map[string]struct{ text, want string }{
		"good":       {strings.Repeat("s", 32), ""},
		"short":      {"secret", "32 printable characters"},
		"a newline":  {strings.Repeat("s", 32) + "\n", "newline"},
		"blanks":     {strings.Repeat("s ", 32), "no blank"},
		"empty":      {"", "32 printable characters"},
		"not a text": {strings.Repeat("\x00", 40), "no blank"},
		"endless":    {strings.Repeat("s", 1<<16), "more than 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(shared, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			settings := door.Settings{Listen: loopback, SecretFrom: shared, AWS: &door.AWS{Target: "bedrock"}, Vault: &door.Vault{Targets: []string{"db"}}}
			room, err := door.New(settings, door.Deps{Targets: a.targets})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v; want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			env := room.Env(nil)
			if env["VAULT_TOKEN"] != c.text || env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] != shared || env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] != "" {
				t.Error("the secret is another than that of the file")
			}
		})
	}
}
