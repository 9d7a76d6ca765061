package config_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
)

// sealKey is made of the bytes 0 to 31.
var sealKey = func() string {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	return base64.StdEncoding.EncodeToString(key)
}()

const whole = `issuer: https://cambio.example
listen: {address: ":8443", tls: {cert_file: tls.crt, key_file: tls.key}}
ops: {address: "127.0.0.1:9091"}
store: {postgres: {dsn: "${secret:db}"}}
seal: {key: "${secret:seal}"}
policy: {dir: policies, reload: 6s}
secrets:
  db: {env: DATABASE_URL}
  seal: {env: SEAL}
  legacy: {env: LEGACY_SECRET, hosts: [auth.example, "other.example:8443"]}
keys: {access: RS256, federation: ES256, rotate: 700h}
outbound: {ca_file: roots.pem, allow: ["*.example", 10.0.0.0/8]}
trusted_proxies: [10.0.0.0/8, "::1/128"]
limits: {request_bytes: 32768, timeout: 9s, subject_per_second: 2.5}
log: {level: debug, format: text}
trace: {otlp: "http://localhost:4318"}
`

func environ(more ...string) []string {
	return append([]string{"DATABASE_URL=postgres://cambio:hunter2@db/cambio", "SEAL=" + sealKey, "LEGACY_SECRET=swordfish"}, more...)
}

func TestWholeFile(t *testing.T) {
	c, err := config.Parse("cambio.yaml", []byte(whole), environ())
	if err != nil {
		t.Fatal(err)
	}
	got := strings.TrimSuffix(fmt.Sprintln(c.Issuer, c.Listen, c.Ops, c.Store.Postgres.DSN.Reveal(), c.Policy, c.Keys, c.Outbound,
		c.TrustedProxies, c.Limits, c.Log, c.Trace, c.Warnings), "\n")
	want := "https://cambio.example {:8443 {tls.crt tls.key} false} {127.0.0.1:9091} postgres://cambio:hunter2@db/cambio " +
		"{policies 6s} {RS256 ES256 700h0m0s} {roots.pem [*.example 10.0.0.0/8] []} [10.0.0.0/8 ::1/128] {32768 9s 2.5} {debug text} {http://localhost:4318} []"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	key, err := c.SealKey()
	if err != nil || len(key) != 32 || key[31] != 31 {
		t.Errorf("sealing key: %v, %v", key, err)
	}
}

func TestDefaults(t *testing.T) {
	c, err := config.Parse("", nil, []string{"CAMBIO_ISSUER=http://127.0.0.1:8443", "CAMBIO_LISTEN_ADDRESS=127.0.0.1:8443",
		"CAMBIO_STORE_SQLITE_PATH=cambio.db", "CAMBIO_SEAL_KEY=" + sealKey})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.Ops, c.Policy, c.Keys, c.Outbound, c.TrustedProxies, c.Limits, c.Log, c.Trace)
	if want := "{127.0.0.1:9090} {policy 5s} {ES256 RS256 720h0m0s} { [*] []} [] {65536 10s 50} {info json} {}"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestEnvironmentSaysEverything gives every key of the whole file as a variable,
// for a single container.
func TestEnvironmentSaysEverything(t *testing.T) {
	c, err := config.Parse("", nil, environ(
		"CAMBIO_ISSUER=https://cambio.example", "CAMBIO_LISTEN_ADDRESS=:8443", "CAMBIO_LISTEN_TLS_CERT_FILE=tls.crt",
		"CAMBIO_LISTEN_TLS_KEY_FILE=tls.key", "CAMBIO_LISTEN_PLAINTEXT=false", "CAMBIO_OPS_ADDRESS=127.0.0.1:9091",
		"CAMBIO_STORE_POSTGRES_DSN=${secret:db}", "CAMBIO_STORE_SQLITE_PATH=", "CAMBIO_SEAL_KEY=${secret:seal}",
		"CAMBIO_POLICY_DIR=policies", "CAMBIO_POLICY_RELOAD=6s",
		"CAMBIO_SECRETS_DB_ENV=DATABASE_URL", "CAMBIO_SECRETS_SEAL_ENV=SEAL",
		"CAMBIO_SECRETS_LEGACY_ENV=LEGACY_SECRET", "CAMBIO_SECRETS_LEGACY_HOSTS=auth.example, other.example:8443",
		"CAMBIO_KEYS_ACCESS=RS256", "CAMBIO_KEYS_FEDERATION=ES256", "CAMBIO_KEYS_ROTATE=700h",
		"CAMBIO_OUTBOUND_CA_FILE=roots.pem", "CAMBIO_OUTBOUND_ALLOW=*.example,10.0.0.0/8",
		"CAMBIO_TRUSTED_PROXIES=10.0.0.0/8,::1/128", "CAMBIO_LIMITS_REQUEST_BYTES=32768", "CAMBIO_LIMITS_TIMEOUT=9s",
		"CAMBIO_LIMITS_SUBJECT_PER_SECOND=2.5", "CAMBIO_LOG_LEVEL=debug", "CAMBIO_LOG_FORMAT=text",
		"CAMBIO_TRACE_OTLP=http://localhost:4318"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := config.Parse("cambio.yaml", []byte(whole), environ())
	if err != nil {
		t.Fatal(err)
	}
	show := func(c *config.Config) string {
		return fmt.Sprint(c.Issuer, c.Listen, c.Ops, c.Store.Postgres.DSN.Reveal(), c.Seal.Key.Reveal(), c.Policy, c.Keys, c.Outbound,
			c.TrustedProxies, c.Limits, c.Log, c.Trace, c.Secrets)
	}
	if show(c) != show(file) {
		t.Errorf("environment: %s\nfile:        %s", show(c), show(file))
	}
}

func TestFaults(t *testing.T) {
	const good = "issuer: https://cambio.example\nlisten: {plaintext: true}\nstore: {sqlite: {path: c.db}}\nseal: {key: \"${secret:seal}\"}\nsecrets: {seal: {env: SEAL}}\n"
	for _, test := range []struct {
		name, file string
		environ    []string
		want       []string // one for each fault, in order
	}{
		{name: "nothing", file: "", want: []string{"issuer: name this service", "listen.tls: give cert_file", "seal.key: give the sealing key", "store: name the database"}},
		{name: "misspelt", file: good + "polcy: {dir: x}\n", want: []string{"cambio.yaml:6:1: polcy: no such key; did you mean policy?\n    6 | polcy:"}},
		{name: "far off", file: good + "keys: {zebra: x}\n", want: []string{"keys.zebra: no such key; the keys here are access, federation, rotate"}},
		{name: "all at once", file: good + "ops: {adress: x}\nlog: {level: loud, format: xml}\nlimits: {timeout: soon}\n", want: []string{
			"6:7: ops.adress: no such key; did you mean address?", "7:14: log.level: one of debug", "7:28: log.format: one of json", `8:19: limits.timeout: "soon" is no duration`}},
		{name: "twice", file: good + "issuer: https://b.example\n", want: []string{`mapping key "issuer" already defined`}},
		{name: "two documents", file: good + "---\nissuer: x\n", want: []string{"one document only"}},
		{name: "alias", file: good + "ops: &a {address: \":1\"}\n", want: []string{"ops: anchors, aliases"}},
		{name: "not a list", file: good + "trusted_proxies: 10.0.0.0/8\n", want: []string{"trusted_proxies: a list is expected here"}},
		{name: "not a value", file: good + "policy: {dir: {a: b}}\n", want: []string{"policy.dir: one value is expected here"}},
		{name: "not keys", file: good + "policy: here\n", want: []string{"policy: keys and values are expected here"}},
		{name: "number", file: good + "limits: {request_bytes: 12, subject_per_second: -1}\n", want: []string{"request_bytes: between 1024", "subject_per_second: more than 0"}},
		{name: "proxy bits", file: good + "trusted_proxies: [10.1.0.0/8, 0.0.0.0/0, 10.0.0.1]\n", want: []string{"write 10.0.0.0/8", "would believe everybody", "is no CIDR prefix"}},
		{name: "both stores", file: strings.Replace(good, "{sqlite: {path: c.db}}", "{sqlite: {path: c.db}, postgres: {dsn: x}}", 1), want: []string{"store: postgres and sqlite exclude"}},
		{name: "http", file: strings.Replace(good, "https://cambio", "http://cambio", 1), want: []string{"1:9: issuer: must begin with https://"}},
		{name: "slash", file: strings.Replace(good, "cambio.example", "cambio.example/", 1), want: []string{"write https://cambio.example"}},
		{name: "query", file: strings.Replace(good, "cambio.example", "cambio.example?a", 1), want: []string{"no query and no fragment"}},
		{name: "case", file: strings.Replace(good, "cambio.example", "Cambio.example", 1), want: []string{"lower case"}},
		{name: "user", file: strings.Replace(good, "cambio.example", "a:b@cambio.example", 1), want: []string{"no user name"}},
		{name: "half tls", file: strings.Replace(good, "plaintext: true", "tls: {cert_file: x}", 1), want: []string{"listen.tls: cert_file and key_file come together"}},
		{name: "plaintext and tls", file: strings.Replace(good, "plaintext: true", "plaintext: true, tls: {cert_file: x, key_file: y}", 1), want: []string{"listen.plaintext: excludes"}},
		{name: "one port", file: good + "ops: {address: \":8443\"}\n", want: []string{"ops.address: must differ"}},
		{name: "no port", file: good + "ops: {address: here}\n", want: []string{"is no host:port"}},
		{name: "short seal", file: good, environ: []string{"SEAL=AAAA"}, want: []string{"seal.key: is 3 bytes"}},
		{name: "weak seal", file: good, environ: []string{"SEAL=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}, want: []string{"one byte over and over"}},
		{name: "seal not base64", file: good, environ: []string{"SEAL=***"}, want: []string{"seal.key: is not base64"}},
		{name: "old keys are no list", file: strings.Replace(good, "}\"}", "}\", old_keys: \"${secret:seal}\"}", 1), want: []string{"seal.old_keys: a list is expected here"}},
		{name: "old key is the key", file: strings.Replace(good, "}\"}", "}\", old_keys: [\"${secret:seal}\"]}", 1), want: []string{"seal.old_keys[0]: is the same key as seal.key"}},
		{name: "old key unlisted", file: strings.Replace(good, "}\"}", "}\", old_keys: [\"${secret:sael}\"]}", 1), want: []string{"seal.old_keys[0]: there is no secrets.sael; did you mean ${secret:seal}?"}},
		{name: "old key short", file: good, environ: []string{"CAMBIO_SEAL_OLD_KEYS=AAAA"}, want: []string{"CAMBIO_SEAL_OLD_KEYS: is 3 bytes"}},
		{name: "old keys without end", file: good, environ: []string{"CAMBIO_SEAL_OLD_KEYS=" + strings.Repeat("AAAA,", 17)}, want: []string{"17 keys are too many"}},
		{name: "seal unset", file: good, environ: []string{"SEAL="}, want: []string{"secrets.seal: the environment variable SEAL is not set"}},
		{name: "unlisted", file: strings.Replace(good, "${secret:seal}", "${secret:sael}", 1), want: []string{"there is no secrets.sael; did you mean ${secret:seal}?"}},
		{name: "part of a value", file: strings.Replace(good, "${secret:seal}", "a${secret:seal}", 1), want: []string{"a secret stands only as a whole value"}},
		{name: "secret elsewhere", file: good + "policy: {dir: \"${secret:seal}\"}\n", want: []string{"stands only as the whole value of a key that holds a secret"}},
		{name: "two sources", file: strings.Replace(good, "env: SEAL", "env: SEAL, file: f", 1), want: []string{"secrets.seal: env and file exclude"}},
		{name: "no source", file: good + "  \n", environ: []string{"CAMBIO_SECRETS_X_HOSTS=a.example"}, want: []string{"secrets.x.hosts"}},
		{name: "bad host", file: strings.Replace(good, "env: SEAL", "env: SEAL, hosts: [\"https://a\"]", 1), want: []string{`"https://a" is no host`}},
		{name: "outbound", file: good + "outbound: {allow: [\"http://x\"]}\n", want: []string{"outbound.allow[0]"}},
		{name: "stand-ins", file: good + "outbound: {stand_ins: [\"sts.test:8443\", 127.0.0.1, localhost]}\n", want: []string{
			`outbound.stand_ins[0]: "sts.test:8443" is no host`, "outbound.stand_ins[1]: 127.0.0.1 is where anybody", "outbound.stand_ins[2]: localhost is where anybody",
		}},
		{name: "trace", file: good + "trace: {otlp: collector}\n", want: []string{"trace.otlp: write the collector's URL"}},
		{name: "rotate", file: good + "keys: {rotate: 1s}\n", want: []string{"keys.rotate: between 1h0m0s"}},
		{name: "variable", file: good, environ: []string{"CAMBIO_LOG_LEVEL=loud", "CAMBIO_LIMITS_TIMEOUT=x"}, want: []string{"CAMBIO_LIMITS_TIMEOUT: \"x\" is no duration", "CAMBIO_LOG_LEVEL: one of"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Parse("cambio.yaml", []byte(test.file), environ(test.environ...))
			var faults config.Faults
			if test.name == "no source" {
				if err == nil || !strings.Contains(err.Error(), "say where it comes from") {
					t.Fatalf("got %v", err)
				}
				return
			}
			if !errors.As(err, &faults) {
				t.Fatalf("got %v", err)
			}
			if len(faults) != len(test.want) {
				t.Fatalf("%d faults, want %d:\n%v", len(faults), len(test.want), err)
			}
			for i, want := range test.want {
				if !strings.Contains(faults[i].String(), want) {
					t.Errorf("fault %d is %q, want %q in it", i, faults[i], want)
				}
			}
		})
	}
}

// TestS39ExcerptsShowNoSecret puts secrets where the line is shown because
// something else on it is wrong.
func TestS39ExcerptsShowNoSecret(t *testing.T) {
	for _, file := range []string{
		"store: {postgres: {dsn: \"postgres://u:hunter2@h/d\"}, zebra: 1}",
		"store: {postgres: {dns: \"postgres://u:hunter2@h/d\"}}",
		"store: {postgres: [\"postgres://u:hunter2@h/d\"]}",
		"seal: {key: hunter2, kye: hunter2}",
		"seal: hunter2",
		"seal: [hunter2",
		"seal: {key: {a: hunter2}}",
		"seal: {old_keys: [hunter2]}",
		"seal: {old_keys: hunter2}",
		"seal: {old_keys: [{a: hunter2}]}",
	} {
		_, err := config.Parse("cambio.yaml", []byte(file), nil)
		if err == nil {
			t.Fatalf("%s: no fault", file)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s:\n%v", file, err)
		}
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	load := func(path string) (*config.Config, error) {
		return config.Parse("", nil, []string{"CAMBIO_ISSUER=https://c.example", "CAMBIO_LISTEN_PLAINTEXT=true", "CAMBIO_STORE_SQLITE_PATH=c.db",
			"CAMBIO_SEAL_KEY=${secret:seal}", "CAMBIO_SECRETS_SEAL_FILE=" + path})
	}
	if _, err := load(write("good", sealKey+"\n")); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "absent"):                    "no such file",
		write("empty", "\n"):                            "is empty",
		write("large", strings.Repeat("a", (64<<10)+1)): "is larger than 65536 bytes",
		dir: "is a directory",
	} {
		if _, err := load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

// TestS20OnlyHostBoundSecretsAreForPolicy: a policy author must not reach the
// sealing key by naming it.
func TestS20OnlyHostBoundSecretsAreForPolicy(t *testing.T) {
	c, err := config.Parse("cambio.yaml", []byte(whole), environ())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.TargetSecrets(); !slices.Equal(got, []string{"legacy"}) {
		t.Errorf("policy may name %v", got)
	}
}

// TestPeekNeedsNoSecrets: a policy is checked where its server's secrets are not.
func TestPeekNeedsNoSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cambio.yaml")
	if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := config.Peek(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.TargetSecrets, []string{"legacy"}) || !slices.Equal(o.OwnIssuers(), []string{"https://cambio.example", "https://cambio.example/federation"}) {
		t.Errorf("%+v", o)
	}
	if _, err := config.Peek(file+".absent", nil); err == nil {
		t.Error("an absent file was read")
	}
	if err := os.WriteFile(file, []byte("isuer: x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Peek(file, nil); err == nil || !strings.Contains(err.Error(), "did you mean issuer?") {
		t.Errorf("got %v", err)
	}
}

func TestStrayVariablesWarn(t *testing.T) {
	c, err := config.Parse("cambio.yaml", []byte(whole), environ("CAMBIO_LISTEN_ADRESS=:1", "CAMBIO_SERVICE_HOST=10.0.0.1", "CAMBIO_PORT=tcp://10.0.0.1:8443",
		"CAMBIO_PORT_8443_TCP_ADDR=10.0.0.1", "CAMBIO_POSTGRES_SERVICE_PORT=5432", "CAMBIO_URL=x", "CAMBIO_TOKEN_FILE=y"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "did you mean CAMBIO_LISTEN_ADDRESS?") {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

// TestS2StandInsAreNamedAndWarnedOf: stand-ins of this machine are for an issuer that
// no cloud can know.
func TestS2StandInsAreNamedAndWarnedOf(t *testing.T) {
	for name, file := range map[string]string{
		"elsewhere": whole,
		"here":      strings.Replace(whole, "https://cambio.example", "http://127.0.0.1:8080", 1),
	} {
		host := map[string]string{"elsewhere": "sts.staging.test", "here": "127.0.0.1"}[name]
		file = strings.Replace(file, "ca_file: roots.pem", "ca_file: roots.pem, stand_ins: ["+host+"]", 1)
		c, err := config.Parse("cambio.yaml", []byte(file), environ())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(c.Outbound.StandIns, []string{host}) {
			t.Errorf("%s: %q", name, c.Outbound.StandIns)
		}
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], host+" is sent assertions that open each account") {
			t.Errorf("%s: warnings %q", name, c.Warnings)
		}
	}
}

// TestReferenceIsWhole: every key is explained, and its variable is what the
// decoder reads.
func TestReferenceIsWhole(t *testing.T) {
	keys := config.Keyring()
	if len(keys) < 25 {
		t.Fatalf("%d keys", len(keys))
	}
	for _, k := range keys {
		if k.Text == "" {
			t.Errorf("%s is not explained", k.Path)
		}
		if !strings.HasPrefix(k.Variable, "CAMBIO_") {
			t.Errorf("%s: %s", k.Path, k.Variable)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "absent.yaml"), nil); err == nil || !strings.Contains(err.Error(), "cannot be read: no such file") {
		t.Errorf("got %v", err)
	}
	if _, err := config.Parse("big.yaml", []byte(strings.Repeat("#", 1<<20+1)), nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
}

// FuzzParse holds that no input makes the decoder panic, hang, or show a secret
// that it understood.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("seal: {key: >-\n  a\n  b}"))
	f.Add([]byte("a: &x [*x, <<: {}]\n? {b: c}\n: d"))
	f.Add([]byte("secrets: {\"${\": {env: ''}}\ntrusted_proxies: [[], {}, ~]"))
	f.Fuzz(func(t *testing.T, file []byte) {
		begun := time.Now()
		c, err := config.Parse("cambio.yaml", file, nil)
		if (c == nil) == (err == nil) {
			t.Errorf("config %v, error %v", c, err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestOldSealKeys come from the file and from the environment, as references and
// plain.
func TestOldSealKeys(t *testing.T) {
	other := base64.StdEncoding.EncodeToString([]byte("abcdefghijklmnopqrstuvwxyz012345"))
	third := base64.StdEncoding.EncodeToString([]byte("543210zyxwvutsrqponmlkjihgfedcba"))
	file := strings.Replace(whole, `seal: {key: "${secret:seal}"}`, `seal: {key: "${secret:seal}", old_keys: ["${secret:before}", "`+third+`"]}`, 1)
	for name, c := range map[string]struct {
		file    string
		environ []string
		want    []string
	}{
		"none":            {whole, nil, nil},
		"the file":        {file, nil, []string{other, third}},
		"the environment": {whole, []string{"CAMBIO_SEAL_OLD_KEYS=" + third + ", ${secret:before}"}, []string{third, other}},
		"both":            {file, []string{"CAMBIO_SEAL_OLD_KEYS=${secret:before}"}, []string{other}},
	} {
		t.Run(name, func(t *testing.T) {
			c2, err := config.Parse("cambio.yaml", []byte(c.file), environ(append(c.environ, "CAMBIO_SECRETS_BEFORE_ENV=BEFORE", "BEFORE="+other)...))
			if err != nil {
				t.Fatal(err)
			}
			keys, err := c2.OldSealKeys()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range keys {
				got = append(got, base64.StdEncoding.EncodeToString(k))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
