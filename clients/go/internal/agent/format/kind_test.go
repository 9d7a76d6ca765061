package format_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"pgregory.net/rapid"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/format"
)

func TestWrite(t *testing.T) {
	db := `{"username":"v-app","password":"` + secret + `","port":5432,"tls":{"min":1.20},"hosts":["a","b<c"],"none":null,"data/x":"slash"}`
	bedrock := bearer(secret)
	bedrock.IssuedTokenType = cambio.TokenTypeBedrockKey
	vaultAWS := lease(`{"access_key":"AKIATEST","secret_key":"` + secret + `","security_token":null}`)
	for _, c := range []struct {
		name    string
		kind    string
		of      *cambio.Credential
		options format.Options
		want    string
	}{
		{"plain", format.Plain, bearer(secret), format.Options{}, secret},
		{"a field of a lease", format.Plain, lease(db), format.Options{Field: "password"}, secret},
		{"beside a lease's data", format.Plain, lease(db), format.Options{Field: "lease_id"}, "db/1"},
		{"a number", format.Plain, lease(db), format.Options{Field: "port"}, "5432"},
		{"an object, as it was written", format.Plain, lease(db), format.Options{Field: "tls"}, `{"min":1.20}`},
		{"a pointer", format.Plain, lease(db), format.Options{Field: "/data/hosts/1"}, "b<c"},
		{"a pointer to a list", format.Plain, lease(db), format.Options{Field: "/data/hosts"}, `["a","b<c"]`},
		{"a pointer with a slash in it", format.Plain, lease(db), format.Options{Field: "/data/data~1x"}, "slash"},
		{"a field of AWS", format.Plain, awsCredential(), format.Options{Field: "AccessKeyId"}, "ASIATEST"},
		{"json", format.JSON, bearer(secret), format.Options{}, `{"access_token":"` + secret + `","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","scope":"a b","expires_at":"2031-05-06T07:08:09Z","exchange_id":"0193-exchange"}` + "\n"},
		{"process", format.CredentialProcess, awsCredential(), format.Options{}, `{"Version":1,"AccessKeyId":"ASIATEST","SecretAccessKey":"` + secret + `","SessionToken":"s/+==","Expiration":"2031-05-06T07:08:09Z"}` + "\n"},
		{"process of Vault's AWS", format.CredentialProcess, vaultAWS, format.Options{}, `{"Version":1,"AccessKeyId":"AKIATEST","SecretAccessKey":"` + secret + `","Expiration":"2031-05-06T07:08:09Z"}` + "\n"},
		{"kubectl", format.ExecCredential, bearer(secret), format.Options{}, `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"expirationTimestamp":"2031-05-06T07:08:09Z","token":"` + secret + `"}}` + "\n"},
		{"kubectl, a field", format.ExecCredential, lease(db), format.Options{Field: "password", Exec: format.ExecInfo{APIVersion: "client.authentication.k8s.io/v1beta1"}}, `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"expirationTimestamp":"2031-05-06T07:08:09Z","token":"` + secret + `"}}` + "\n"},
		{"env", format.Dotenv, bearer(secret), format.Options{Variable: "OPENAI_API_KEY"}, "OPENAI_API_KEY=" + secret + "\n"},
		{"env of AWS", format.Dotenv, awsCredential(), format.Options{}, "AWS_ACCESS_KEY_ID=ASIATEST\nAWS_SECRET_ACCESS_KEY=" + secret + "\nAWS_SESSION_TOKEN=s/+==\nAWS_CREDENTIAL_EXPIRATION=2031-05-06T07:08:09Z\n"},
		{"env of Bedrock", format.Dotenv, bedrock, format.Options{}, "AWS_BEARER_TOKEN_BEDROCK=" + secret + "\n"},
		{"env of a lease", format.Dotenv, lease(`{"user-name":"a b","x.y":"it's"}`), format.Options{}, "USER_NAME='a b'\nX_Y=\"it's\"\n"},
		{"env of a lease, with a prefix", format.Dotenv, lease(`{"path":"/x"}`), format.Options{Variable: "DB_"}, "DB_PATH=/x\n"},
		{"env of a field", format.Shell, lease(db), format.Options{Variable: "PGPASSWORD", Field: "password"}, "export PGPASSWORD='" + secret + "'\n"},
		{"shell", format.Shell, bearer("it's $HOME\n`x`"), format.Options{Variable: "A"}, "export A='it'\\''s $HOME\n`x`'\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := format.Write(c.kind, c.of, c.options)
			if err != nil || string(got) != c.want {
				t.Errorf("%v\n got %q\nwant %q", err, got, c.want)
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	db := lease(`{"password":"` + secret + `","none":null}`)
	dead := awsCredential()
	dead.Expires = time.Time{}
	for _, c := range []struct {
		name    string
		kind    string
		of      *cambio.Credential
		options format.Options
		says    string
	}{
		{"no such kind", "yaml", bearer(secret), format.Options{}, `no format is called "yaml": there are plain, json`},
		{"a field of JSON", format.JSON, db, format.Options{Field: "password"}, "a field is taken by"},
		{"a variable of plain", format.Plain, db, format.Options{Variable: "A"}, "a variable is named for"},
		{"no name", format.Dotenv, db, format.Options{Variable: "A=B"}, "names no variable"},
		{"a field without a variable", format.Shell, db, format.Options{Field: "password"}, "needs a variable"},
		{"which variable", format.Shell, bearer(secret), format.Options{}, "name the variable"},
		{"a field of a token", format.Plain, bearer(secret), format.Options{Field: "x"}, "no JSON object"},
		{"two objects", format.Plain, bearer(`{"x":"1"}{"x":"2"}`), format.Options{Field: "x"}, "more than one"},
		{"a field that is not there", format.Plain, db, format.Options{Field: "pass"}, `no field "pass", it has "none", "password"`},
		{"null", format.Plain, db, format.Options{Field: "none"}, "null"},
		{"a pointer to nothing", format.Plain, db, format.Options{Field: "/data/pass"}, `there is no "pass"`},
		{"a pointer into a text", format.Plain, db, format.Options{Field: "/data/password/x"}, "has no fields"},
		{"a pointer past a list", format.Plain, lease(`{"l":["` + secret + `"]}`), format.Options{Field: "/data/l/1"}, "no place in a list of 1"},
		{"a process of a token", format.CredentialProcess, bearer(secret), format.Options{}, "AWS credentials are needed"},
		{"a process of half a key", format.CredentialProcess, lease(`{"access_key":"x"}`), format.Options{}, `no field "secret_key"`},
		{"a process without an end", format.CredentialProcess, dead, format.Options{}, "when it ends"},
		{"kubectl with AWS credentials", format.ExecCredential, awsCredential(), format.Options{}, "no token"},
		{"kubectl with a newline", format.ExecCredential, bearer(secret + "\n"), format.Options{}, "no header takes"},
		{"a newline in an env file", format.Dotenv, bearer("a\nLD_PRELOAD=x"), format.Options{Variable: "A"}, "one line"},
		{"quotes that readers differ on", format.Dotenv, bearer(`a'$b`), format.Options{Variable: "A"}, "differ"},
		{"backslashes that readers differ on", format.Dotenv, bearer(`a\\b`), format.Options{Variable: "A"}, "differ"},
		{"NUL in a shell", format.Shell, bearer("a\x00b"), format.Options{Variable: "A"}, "NUL"},
		{"a lease that sets PATH", format.Dotenv, lease(`{"path":"/evil"}`), format.Options{}, "changes how programs run"},
		{"a lease that sends traffic elsewhere", format.Dotenv, lease(`{"https-proxy":"http://evil.example"}`), format.Options{}, "changes how programs run"},
		{"a lease that loads", format.Dotenv, lease(`{"ld-preload":"/evil.so"}`), format.Options{}, "changes how programs run"},
		{"a lease of twins", format.Dotenv, lease(`{"a-b":"1","a_b":"2"}`), format.Options{}, "both variable A_B"},
		{"a lease of no name", format.Dotenv, lease(`{"1":"1"}`), format.Options{}, "names no variable"},
		{"an empty lease", format.Dotenv, lease(`{}`), format.Options{}, "no fields"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := format.Write(c.kind, c.of, c.options)
			fails(t, err, c.says)
			if out != nil {
				t.Errorf("there is an answer: %d bytes", len(out))
			}
		})
	}
}

// The AWS SDK runs this binary as its credential process.
func TestProcessByTheSDK(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CAMBIO_FORMAT_TEST", "aws")
	got, err := processcreds.NewProvider(self).Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessKeyID != "ASIATEST" || got.SecretAccessKey != secret || got.SessionToken != "s/+==" || !got.Expires.Equal(until.Truncate(time.Second)) {
		t.Errorf("the SDK read key %s, which ends %s", got.AccessKeyID, got.Expires)
	}
}

// A shell reads back what was written, in both formats.
func TestLinesByTheShell(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		value := rapid.OneOf(rapid.String(), rapid.StringMatching("[a-z'\"\\\\$`!\n #;~^*=-]{0,12}")).Draw(r, "value")
		kind := rapid.SampledFrom([]string{format.Dotenv, format.Shell}).Draw(r, "kind")
		text, err := format.Write(kind, bearer(value), format.Options{Variable: "A"})
		if err != nil {
			return // refused is not misread
		}
		if kind == format.Dotenv && strings.Count(string(text), "\n") != 1 {
			r.Fatalf("%q is more than a line", text)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		command := exec.CommandContext(ctx, "sh", "-c", `eval "$(cat; echo .)" 2>/dev/null; printf %s "$A"`)
		command.Stdin = strings.NewReader(string(text) + ":")
		command.Env = []string{"PATH=" + os.Getenv("PATH")}
		got, err := command.Output()
		if err != nil || string(got) != value {
			r.Fatalf("%v: the shell read %q of %q, which was written for %q", err, got, text, value)
		}
	})
}

func FuzzField(f *testing.F) {
	f.Add(`{"data":{"password":"x"}}`, "password")
	f.Add(`{"a":[1,{"b":null}]}`, "/a/1/b")
	f.Add(`{"a~b":{"":1}}`, "/a~0b/")
	f.Fuzz(func(t *testing.T, text, name string) {
		c := bearer(text)
		for _, kind := range []string{cambio.TokenTypeVaultLease, cambio.TokenTypeAWSCredentials} {
			c.IssuedTokenType = kind
			value, err := format.Field(c, name)
			if err == nil && !json.Valid([]byte(text)) {
				t.Errorf("%q has a field %q: %d bytes", text, name, len(value.Reveal()))
			}
			variables, err := format.Variables(c, "")
			if err != nil {
				continue
			}
			for _, v := range variables {
				if strings.ContainsAny(v.Name, "=\x00\n") || v.Name == "" || v.Name == "PATH" {
					t.Errorf("variable %q", v.Name)
				}
			}
		}
	})
}
