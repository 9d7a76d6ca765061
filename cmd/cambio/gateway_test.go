package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/oracle/oci-go-sdk/v65/common"

	"github.com/cambio-sts/cambio/exchange"
)

// model is how a gateway gets at one of the seven, and what the model answers it.
type model struct {
	more    func(*gatewayPod) url.Values // beside token and target
	path    string
	body    string
	headers map[string]string
	sign    func(*gatewayPod, *http.Request, []byte, string) error // nil: a bearer
	says    string
}

// gatewayPod is the gateway of the example.
type gatewayPod struct {
	*models
	key *rsa.PrivateKey // of its own making, for OCI
}

const turn = `"messages":[{"role":"user","content":"who am I?"}]`

var sevenModels = map[string]model{
	"bedrock": {
		path: "/model/anthropic.claude-haiku-4-5-20251001-v1:0/converse", sign: (*gatewayPod).signAWS,
		body: `{"messages":[{"role":"user","content":[{"text":"who am I?"}]}]}`,
		says: "You are arn:aws:sts::123456789012:assumed-role/llm/cambio-",
	},
	"azure-openai": {
		path: "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21", body: "{" + turn + "}",
		says: "by an assertion of default:azure-openai.",
	},
	"vertex": {
		path: "/v1/projects/my-project/locations/us-central1/publishers/google/models/gemini-3-pro:generateContent",
		body: `{"contents":[{"role":"user","parts":[{"text":"who am I?"}]}]}`, says: "default:vertex",
	},
	"oci-genai": {
		path: "/20231130/actions/chat", more: (*gatewayPod).publicKey, sign: (*gatewayPod).signOCI,
		body: `{"compartmentId":"c","servingMode":{"servingType":"ON_DEMAND","modelId":"meta.llama-3.3-70b-instruct"},"chatRequest":{"apiFormat":"GENERIC","messages":[]}}`,
		says: "You are default:oci-genai:k8s%3Aprod%3Allm%3Agateway.",
	},
	"watsonx": {
		path: "/ml/v1/text/chat?version=2026-01-01", more: (*gatewayPod).passthrough,
		body: `{"model_id":"granite","project_id":"p",` + turn + `}`,
		says: "You are iam-Profile-00000000-0000-4000-8000-000000000000 by system:serviceaccount:llm:gateway",
	},
	"claude": {
		path: "/v1/messages", body: `{"model":"claude","max_tokens":16,` + turn + `}`,
		headers: map[string]string{"Anthropic-Beta": "oauth-2025-04-20", "Anthropic-Version": "2023-06-01"}, says: "You are default:claude",
	},
	"gpt": {
		path: "/v1/chat/completions", body: `{"model":"gpt",` + turn + `}`, says: "You are default:gpt",
	},
}

// TestGatewayReachesSevenModels: with one token and the example's policy, each of the
// seven vends, and its model answers who the gateway is. No secret of a cloud is there
// but the one that OCI needs.
func TestGatewayReachesSevenModels(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	g := &gatewayPod{openModels(t, 30*time.Second), key}
	token := g.token("llm", "gateway", "cambio")
	for target := range gatewayPolicy(t)["targets"].(map[string]any) {
		if _, ok := sevenModels[target]; !ok {
			t.Errorf("nobody calls what %s vends", target)
		}
	}
	for target, m := range sevenModels {
		t.Run(target, func(t *testing.T) {
			var more url.Values
			if m.more != nil {
				more = m.more(g)
			}
			got := g.ask(token, target, more)
			if got.status != http.StatusOK {
				t.Fatalf("%d %s: %s\n%s", got.status, got.text("error"), got.text("error_description"), g.log.String())
			}
			text, err := g.call(target, m, got)
			if err != nil || !strings.Contains(text, m.says) {
				t.Errorf("it answers %q: %v", text, err)
			}
			if again := g.ask(token, target, more); again.text("access_token") != got.text("access_token") || again.text("lease_id") != got.text("lease_id") {
				t.Error("the same question has another answer")
			}
			for name, who := range map[string][2]string{"another account": {"llm", "default"}, "a preview": {"preview-7", "gateway"}} {
				if got := g.ask(g.token(who[0], who[1], "cambio"), target, nil); got.text("error") != "invalid_target" {
					t.Errorf("%s: %d %s", name, got.status, got.text("error"))
				}
			}
		})
	}
	// What AWS would show of the session leads back to the gateway.
	var keys struct{ AccessKeyId string }
	if err := json.Unmarshal([]byte(g.ask(token, "bedrock", nil).text("access_token")), &keys); err != nil {
		t.Fatal("the credential is no JSON")
	}
	s, ok := g.aws.Session(keys.AccessKeyId)
	if !ok || s.Subject != "default:bedrock" || s.SourceIdentity != "k8s=3Aprod=3Allm=3Agateway" || s.Tags["namespace"] != "llm" {
		t.Errorf("the session is of %q, for %q, tagged %v", s.Subject, s.SourceIdentity, s.Tags)
	}
	// The indexer's session embeds, and does not chat.
	got := g.ask(g.token("llm", "indexer", "cambio"), "bedrock", nil)
	if got.text("scope") != "embed" {
		t.Fatalf("%d %s", got.status, got.text("error_description"))
	}
	if text, err := g.call("bedrock", sevenModels["bedrock"], got); err == nil {
		t.Errorf("the indexer chats: %q", text)
	}
}

// call uses what was vended once, and returns the model's whole answer.
func (g *gatewayPod) call(target string, m model, got told) (string, error) {
	r, err := http.NewRequest(http.MethodPost, g.stands[target].url+m.path, bytes.NewReader([]byte(m.body)))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	for name, value := range m.headers {
		r.Header.Set(name, value)
	}
	if m.sign == nil {
		r.Header.Set("Authorization", "Bearer "+got.text("access_token"))
	} else if err := m.sign(g, r, []byte(m.body), got.text("access_token")); err != nil {
		return "", err
	}
	resp, err := g.web.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return string(text), err
}

func (g *gatewayPod) publicKey() url.Values {
	der, err := x509.MarshalPKIXPublicKey(g.key.Public())
	if err != nil {
		g.Fatal(err)
	}
	return url.Values{"public_key": {base64.StdEncoding.EncodeToString(der)}}
}

func (g *gatewayPod) passthrough() url.Values {
	return url.Values{"passthrough_token": {g.token("llm", "gateway", "iam")}, "passthrough_token_type": {string(exchange.TokenTypeJWT)}}
}

// signAWS signs as the SDKs do, with what a credential_process prints.
func (g *gatewayPod) signAWS(r *http.Request, body []byte, credential string) error {
	var c struct{ AccessKeyId, SecretAccessKey, SessionToken string }
	if err := json.Unmarshal([]byte(credential), &c); err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	return v4.NewSigner().SignHTTP(g.Context(), awssdk.Credentials{AccessKeyID: c.AccessKeyId, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken},
		r, hex.EncodeToString(sum[:]), "bedrock", "eu-west-1", g.clock.now())
}

// ociCaller is who signs, for Oracle's SDK.
type ociCaller struct {
	id  string
	key *rsa.PrivateKey
}

func (c ociCaller) KeyID() (string, error)                  { return c.id, nil }
func (c ociCaller) PrivateRSAKey() (*rsa.PrivateKey, error) { return c.key, nil }

// signOCI signs with the key that never left the pod.
func (g *gatewayPod) signOCI(r *http.Request, _ []byte, credential string) error {
	var c struct {
		KeyID string `json:"key_id"`
	}
	if err := json.Unmarshal([]byte(credential), &c); err != nil {
		return err
	}
	r.Header.Set("Date", g.clock.now().UTC().Format(http.TimeFormat))
	return common.DefaultRequestSigner(ociCaller{c.KeyID, g.key}).Sign(r)
}
