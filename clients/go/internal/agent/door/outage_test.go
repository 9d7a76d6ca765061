package door_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	vault "github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/oauth2/google"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// shapes are how each SDK knows an error.
var shapes = map[string]func(status int, text string) bool{
	"aws": func(_ int, text string) bool {
		var e struct{ Code, Message string }
		return json.Unmarshal([]byte(text), &e) == nil && e.Code != "" && e.Message != ""
	},
	"azure": func(status int, text string) bool {
		var e struct {
			StatusCode int
			Message    string
		}
		return json.Unmarshal([]byte(text), &e) == nil && e.StatusCode == status && e.Message != ""
	},
	"gce": func(_ int, text string) bool { return text != "" && !strings.HasPrefix(text, "{") },
	"ibm": func(_ int, text string) bool {
		var e struct{ ErrorCode, ErrorMessage string }
		return json.Unmarshal([]byte(text), &e) == nil && e.ErrorCode != "" && e.ErrorMessage != ""
	},
	"vault": func(_ int, text string) bool {
		var e struct{ Errors []string }
		return json.Unmarshal([]byte(text), &e) == nil && len(e.Errors) == 1
	},
	"oci": func(_ int, text string) bool {
		var e struct{ Code, Message string }
		return json.Unmarshal([]byte(text), &e) == nil && e.Code != "" && e.Message != ""
	},
}

// While the server is down every door hands out what it has until that dies, and then
// says, as the SDK wants it said, to come again.
func TestDoorsServeWhatTheyHaveWhileTheServerIsDown(t *testing.T) {
	a, doors := calls(t)
	first := map[string]string{}
	for name, c := range doors {
		r := c.make()
		resp, text := c.send(t, r, r.Write)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", name, resp.Status)
		}
		first[name] = credentialOf(text)
	}
	a.cambio.Close()
	a.cambio.Clock.Advance(life - time.Minute)
	each(t, doors, func(t *testing.T, name string, c call) {
		r := c.make()
		resp, text := c.send(t, r, r.Write)
		if resp.StatusCode != http.StatusOK || credentialOf(text) != first[name] {
			t.Errorf("a minute before its end: %s", resp.Status)
		}
	})
	a.cambio.Clock.Advance(2 * time.Minute)
	each(t, doors, func(t *testing.T, name string, c call) {
		r := c.make()
		resp, text := c.send(t, r, r.Write)
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != http.StatusServiceUnavailable || err != nil || seconds < 1 {
			t.Errorf("a minute after its end: %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
		if !shapes[name](resp.StatusCode, text) || !strings.Contains(text, "no answer from") || strings.Contains(text, vended) {
			t.Errorf("its error is no error of its SDK, or does not say why")
		}
	})
}

func each(t *testing.T, doors map[string]call, f func(t *testing.T, name string, c call)) {
	t.Helper()
	t.Run("doors", func(t *testing.T) {
		for name, c := range doors {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f(t, name, c)
			})
		}
	})
}

// credentialOf is what stays in an answer while the time that is told in it passes.
func credentialOf(text string) string {
	for _, end := range []string{vended, "eyJ", `"`} {
		if i := strings.Index(text, end); i >= 0 && end != `"` {
			text = text[i:]
			return text[:strings.IndexAny(text, `"`)]
		}
	}
	return text
}

func TestDoorsTellWhyThePolicyRefuses(t *testing.T) {
	a, doors := calls(t)
	for _, name := range names {
		a.cambio.Serve(name, func(url.Values, int) standin.Answer {
			return standin.Answer{Status: http.StatusBadRequest, Code: "invalid_target", Description: "no rule lets you have this"}
		})
	}
	for name, c := range doors {
		r := c.make()
		resp, text := c.send(t, r, r.Write)
		want := http.StatusForbidden
		if name == "oci" {
			want = http.StatusBadRequest // of 403 the SDK says that the cluster is not enhanced
		}
		if resp.StatusCode != want || !shapes[name](want, text) || !strings.Contains(text, "no rule lets you have this") || !strings.Contains(text, "exchange-refused") {
			t.Errorf("%s: %s %s", name, resp.Status, text)
		}
	}
	if got := testutil.CollectAndCount(a.registry, "cambio_agent_door_requests_total"); got != len(doors) {
		t.Errorf("%d series for %d doors", got, len(doors))
	}
}

func TestDoorsRefuseATargetOfAnotherKind(t *testing.T) {
	dirs := t.TempDir()
	a := open(t, newCambio(t), door.Settings{
		Listen: loopback, SecretFile: dirs + "/secret", AWS: &door.AWS{Target: "vertex"}, Azure: &door.Azure{Target: "bedrock"},
		IBM: &door.IBM{Target: "bedrock", Service: "WATSONX"},
		GCE: &door.GCE{Target: "bedrock", Project: "p", UIDs: []uint32{uint32(os.Getuid())}, Identities: map[string]string{"x": "vertex"}},
	}, nil)
	a.environment()
	secret, own := secretOf(t, a), "http://"+a.bound[loopback]
	for name, r := range map[string]func() (*http.Request, error){
		"aws": func() (*http.Request, error) { return http.NewRequest("GET", own+"/aws/vertex", nil) },
		"azure": func() (*http.Request, error) {
			return http.NewRequest("GET", own+"/azure/token?api-version=2019-08-01&resource=x", nil)
		},
		"gce": func() (*http.Request, error) {
			return http.NewRequest("GET", own+"/computeMetadata/v1/instance/service-accounts/default/token", nil)
		},
		"identity": func() (*http.Request, error) {
			return http.NewRequest("GET", own+"/computeMetadata/v1/instance/service-accounts/default/identity?audience=x", nil)
		},
		"ibm": func() (*http.Request, error) {
			r, err := http.NewRequest("POST", own+"/ibm/identity/token", form(url.Values{"grant_type": {"urn:ibm:params:oauth:grant-type:cr-token"}, "cr_token": {secret}, "profile_id": {"any"}}))
			if err == nil {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			return r, err
		},
	} {
		req, err := r()
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Metadata-Flavor", "Google")
		req.Header.Set("X-Identity-Header", secret)
		if name == "aws" {
			req.Header.Set("Authorization", secret)
		}
		resp, text := call{address: a.bound[loopback]}.send(t, req, req.Write)
		if resp.StatusCode != http.StatusForbidden || strings.Contains(text, vended) || !strings.Contains(text, "arget") {
			t.Errorf("%s: %s %s", name, resp.Status, text)
		}
	}
}

// The vendors' SDKs show their callers what the door says.
func TestSDKsShowTheReason(t *testing.T) {
	s := newCambio(t)
	for _, name := range names {
		s.Serve(name, func(url.Values, int) standin.Answer {
			return standin.Answer{Status: http.StatusForbidden, Code: "access_denied", Description: "ask the platform team"}
		})
	}
	a := open(t, s, door.Settings{
		Listen: loopback, AWS: &door.AWS{Target: "bedrock"}, Vault: &door.Vault{Targets: []string{"db"}},
		GCE: &door.GCE{Target: "vertex", Project: "p", UIDs: []uint32{uint32(os.Getuid())}},
	}, nil)
	noAWS(t)
	a.environment()
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("eu-west-1"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = cfg.Credentials.Retrieve(t.Context())
	shown(t, "aws", err)
	_, err = google.ComputeTokenSource("").Token()
	shown(t, "gce", err)
	client, err := vault.NewClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Logical().Read("secret/db")
	shown(t, "vault", err)
	for _, name := range []string{"bedrock", "vertex", "db"} {
		if n := s.Exchanges(name); n != 1 {
			t.Errorf("%s: %d exchanges for one refusal", name, n)
		}
	}
}

func shown(t *testing.T, name string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "ask the platform team") {
		t.Errorf("%s: %v", name, err)
	}
}

// IBM's answer, by the reference of IAM: its SDKs take expires_in and expiration.
func TestIBMAnswersAsIAMDoes(t *testing.T) {
	a, doors := calls(t)
	r := doors["ibm"].make()
	_, text := doors["ibm"].send(t, r, r.Write)
	var got struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		TokenType    string `json:"token_type"`
		ExpiresIn    int64  `json:"expires_in"`
		Expiration   int64  `json:"expiration"`
		Scope        string `json:"scope"`
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if strings.Count(got.AccessToken, ".") != 2 || got.RefreshToken != "not_supported" || got.TokenType != "Bearer" || got.Scope != "ibm openid" ||
		got.ExpiresIn != int64(life/time.Second) || got.Expiration != a.cambio.Clock.Now().Add(life).Unix() {
		t.Errorf("expires_in %d, expiration %d, type %q", got.ExpiresIn, got.Expiration, got.TokenType)
	}
	env := a.Env(a.bound)
	for name, want := range map[string]string{
		"WATSONX_AUTH_TYPE": "container", "WATSONX_IAM_PROFILE_ID": "Profile-1",
		"WATSONX_AUTH_URL": "http://" + a.bound[loopback] + "/ibm",
	} {
		if env[name] != want {
			t.Errorf("%s=%s; want %s", name, env[name], want)
		}
	}
	for name, change := range map[string]url.Values{
		"another grant":   {"grant_type": {"urn:ibm:params:oauth:grant-type:apikey"}},
		"another profile": {"profile_id": {"Profile-2"}},
		"two tokens":      {"cr_token": {"a", "b"}},
	} {
		form := url.Values{"grant_type": {"urn:ibm:params:oauth:grant-type:cr-token"}, "profile_id": {"Profile-1"}, "cr_token": {doors["ibm"].secret}}
		for key, values := range change {
			form[key] = values
		}
		r, err := http.NewRequest(http.MethodPost, env["WATSONX_AUTH_URL"]+"/identity/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, text := doors["ibm"].send(t, r, r.Write)
		if resp.StatusCode != http.StatusBadRequest || !shapes["ibm"](400, text) {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

// However many come to a cold agent, each target is asked for once.
func TestManyCallersCauseOneExchange(t *testing.T) {
	a, doors := calls(t)
	var all sync.WaitGroup
	for name, c := range doors {
		for range 20 {
			all.Go(func() {
				r := c.make()
				if resp, _ := c.send(t, r, r.Write); resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %s", name, resp.Status)
				}
			})
		}
	}
	all.Wait()
	if n := vendedBy(a); n != len(doors) {
		t.Errorf("%d exchanges for %d targets", n, len(doors))
	}
}

// An SDK that asks ahead of the end, by as much as its vendor has set, gets another
// credential, and one that asks earlier the same.
func TestSDKsThatAskAheadGetAnother(t *testing.T) {
	a, doors := calls(t)
	ahead := map[string]time.Duration{
		"aws": 15 * time.Minute, "azure": 5*time.Minute + 30*time.Second, "gce": 5*time.Minute + 30*time.Second,
		"ibm": 5*time.Minute + 30*time.Second, "vault": 5*time.Minute + 30*time.Second, "oci": 10 * time.Minute,
	}
	target := map[string]string{"aws": "bedrock", "azure": "azure-openai", "gce": "vertex", "ibm": "watsonx", "vault": "db", "oci": "oci-genai"}
	ask := func(name string) int {
		r := doors[name].make()
		if resp, _ := doors[name].send(t, r, r.Write); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", name, resp.Status)
		}
		return a.cambio.Exchanges(target[name])
	}
	for name := range doors {
		ask(name)
	}
	began := a.cambio.Clock.Now()
	for _, left := range []time.Duration{20 * time.Minute, 15 * time.Minute, 10 * time.Minute, 5*time.Minute + 30*time.Second} {
		a.cambio.Clock.Advance(began.Add(life - left).Sub(a.cambio.Clock.Now()))
		for name := range doors {
			want := 1
			if left <= ahead[name] {
				want = 2
			}
			if n := ask(name); n != want {
				t.Errorf("%s with %v left: %d exchanges; want %d", name, left, n, want)
			}
		}
	}
}
