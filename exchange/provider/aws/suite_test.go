package aws_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/aws"
	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// models says which model stands for which scope in the suite.
var models = map[string]string{"small": small, "large": large}

func scopePolicies() map[string]aws.Scope {
	out := map[string]aws.Scope{}
	for scope, model := range models {
		out[scope] = aws.Scope{Policy: `{
			"Version": "2012-10-17",
			"Statement": [
				{"Sid": "model", "Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": "arn:aws:bedrock:*::foundation-model/` + model + `"},
				{"Effect": "Allow", "Action": "bedrock:CallWithBearerToken", "Resource": "*"}
			]
		}`}
	}
	return out
}

// honour calls each model with the credential: the scopes are the models that answer.
func (y *yard) honour(t *testing.T, c exchange.Credential) (string, []string, error) {
	session, ok := y.Session(c.Handle)
	if !ok {
		return "", nil, errors.New("no session has this handle")
	}
	if c.IssuedType == aws.TokenTypeCredentials && !session.Expires.Equal(c.Expires) || c.Expires.After(session.Expires) {
		return "", nil, errors.New("the session ends at another time than was said")
	}
	var scopes []string
	for scope, model := range models {
		for _, operation := range []string{"invoke", "converse"} {
			text, err := y.chat(t.Context(), c, model, operation)
			switch {
			case errors.Is(err, errDenied):
			case err != nil:
				return "", nil, err
			case text != "You are "+session.ARN+", subject "+session.Tags["subject"]+".":
				return "", nil, errors.New("the model says: " + text)
			case operation == "invoke":
				scopes = append(scopes, scope)
			}
		}
	}
	return session.Tags["subject"], scopes, nil
}

func TestSuite(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*testing.T, *aws.Settings)
		issued exchange.TokenType
		scopes []string
	}{
		"web identity":        {func(_ *testing.T, s *aws.Settings) { s.MayOutlive = true }, aws.TokenTypeCredentials, []string{"large", "small"}},
		"web identity, whole": {func(_ *testing.T, s *aws.Settings) { s.MayOutlive, s.Scopes = true, nil }, aws.TokenTypeCredentials, nil},
		"bedrock keys":        {func(_ *testing.T, s *aws.Settings) { s.Format = aws.FormatBedrockKey }, aws.TokenTypeBedrockKey, []string{"large", "small"}},
		"assume role": {func(t *testing.T, s *aws.Settings) {
			ambient(t)
			s.Method, s.MayOutlive, s.MaxSession = aws.MethodAssumeRole, true, time.Hour
		}, aws.TokenTypeCredentials, []string{"large", "small"}},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t, func(s *awssandbox.Setup) {
				s.Keys = []awssandbox.Key{{ID: ambientID, Secret: ambientSecret, User: "cambio"}}
				if name == "assume role" {
					s.Roles[0].Trust = ambientTrust
				}
			})
			settings := y.settings()
			settings.Scopes = scopePolicies()
			c.change(t, settings)
			weather := func(m sandbox.Mood) func(*testing.T) func() {
				return func(*testing.T) func() { return y.Weather.Set(m) }
			}
			fail := map[exchange.Kind]func(*testing.T) func(){
				exchange.KindProviderRefused: weather(sandbox.Refusing), exchange.KindThrottled: weather(sandbox.Throttling),
				exchange.KindUnavailable: weather(sandbox.Down),
			}
			if name != "assume role" {
				fail[exchange.KindMisconfigured] = func(t *testing.T) func() {
					y.issuer.publish(t, newAsserter(t).key)
					return func() { y.issuer.publish(t, y.issuer.key) }
				}
			}
			honour := y.honour
			if c.scopes == nil { // every model answers, and no scope is known
				honour = func(t *testing.T, c exchange.Credential) (string, []string, error) {
					subject, _, err := y.honour(t, c)
					return subject, nil, err
				}
			}
			providertest.Run(t, providertest.Harness{
				Provider: "aws", Config: settings, Deps: y.deps, Scopes: c.scopes, Type: c.issued, Honour: honour,
				Fail: fail, Hang: weather(sandbox.Slow),
			})
		})
	}
}

const (
	ambientID     = "AKIACAMBIOSANDBOX001"
	ambientSecret = "sandbox-secret-access-key"
	ambientTrust  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:user/cambio"},
		"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}}`
)

// ambient gives this process credentials, and nothing else to find.
func ambient(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": ambientID, "AWS_SECRET_ACCESS_KEY": ambientSecret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": t.TempDir() + "/config", "AWS_SHARED_CREDENTIALS_FILE": t.TempDir() + "/credentials",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "https://nobody.invalid",
	} {
		t.Setenv(name, value)
	}
}
