package door_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/compute/metadata"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/aws/aws-sdk-go-v2/config"
	vault "github.com/hashicorp/vault/api"
	"golang.org/x/oauth2/google"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
)

// loopback is any free port.
const loopback = "127.0.0.1:0"

func TestAWSSDKTakesContainerCredentials(t *testing.T) {
	for name, secretFile := range map[string]bool{"secret in a file": true, "secret in the environment": false} {
		t.Run(name, func(t *testing.T) {
			settings := door.Settings{Listen: loopback, AWS: &door.AWS{Target: "bedrock", Targets: []string{"sagemaker"}}}
			if secretFile {
				settings.SecretFile = filepath.Join(t.TempDir(), "run", "secret")
			}
			a := open(t, newCambio(t), settings, nil)
			noAWS(t)
			a.environment()
			cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("eu-west-1"))
			if err != nil {
				t.Fatal(err)
			}
			credentials, err := cfg.Credentials.Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			end := a.cambio.Clock.Now().Add(life - 5*time.Minute) // by which the SDK is early
			if credentials.AccessKeyID != "ASIABEDROCK" || credentials.SecretAccessKey != vended+"key" || credentials.SessionToken != vended+"bedrock" ||
				credentials.Expires.Sub(end).Abs() > time.Minute {
				t.Errorf("AccessKeyID %q, Expires %v; want those of bedrock until %v", credentials.AccessKeyID, credentials.Expires, end)
			}
		})
	}
}

// noAWS keeps what else this machine may have away from the SDK.
func noAWS(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestGoogleSDKsTakeTheMetadataServer(t *testing.T) {
	a := open(t, newCambio(t), door.Settings{Listen: loopback, GCE: &door.GCE{
		Target: "vertex", Project: "my-project", ProjectNumber: "1234", ServiceAccount: "llm@my-project.iam.gserviceaccount.com",
		UIDs: []uint32{uint32(os.Getuid())}, Identities: map[string]string{"https://run.example": "run-id"},
	}}, nil)
	a.environment()
	if os.Getenv("GOOGLE_CLOUD_PROJECT") != "my-project" || os.Getenv("GCE_METADATA_IP") != os.Getenv("GCE_METADATA_HOST") {
		t.Error("the environment lacks what SDKs look for")
	}
	token, err := google.ComputeTokenSource("", "https://www.googleapis.com/auth/bigquery").Token()
	if err != nil {
		t.Fatal(err)
	}
	if token.AccessToken != vended+"vertex" || !strings.EqualFold(token.TokenType, "Bearer") || time.Until(token.Expiry) > life || time.Until(token.Expiry) < life-time.Minute {
		t.Errorf("type %q until %v", token.TokenType, token.Expiry)
	}
	m := metadata.NewClient(nil)
	for path, want := range map[string]string{
		"project/project-id": "my-project", "project/numeric-project-id": "1234",
		"instance/service-accounts/default/email":                                  "llm@my-project.iam.gserviceaccount.com",
		"instance/service-accounts/default/scopes":                                 "https://www.googleapis.com/auth/cloud-platform\n",
		"universe/universe-domain":                                                 "googleapis.com",
		"instance/service-accounts/":                                               "default/\nllm@my-project.iam.gserviceaccount.com/\n",
		"instance/service-accounts/llm@my-project.iam.gserviceaccount.com/aliases": "default",
		"instance/service-accounts/default/?recursive=true": `{"aliases":["default"],"email":"llm@my-project.iam.gserviceaccount.com",` +
			`"scopes":["https://www.googleapis.com/auth/cloud-platform"]}` + "\n",
	} {
		if got, err := m.GetWithContext(t.Context(), path); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	id, err := m.GetWithContext(t.Context(), "instance/service-accounts/default/identity?audience=https%3A%2F%2Frun.example&format=full")
	if err != nil || strings.Count(id, ".") != 2 {
		t.Errorf("the ID token: %v", err)
	}
	for _, path := range []string{
		"instance/service-accounts/default/identity?audience=https%3A%2F%2Fother.example", "instance/zone",
		"instance/service-accounts/other@my-project.iam.gserviceaccount.com/token", "instance/service-accounts/default/secrets",
	} {
		if _, err := m.GetWithContext(t.Context(), path); !isNotDefined(err) {
			t.Errorf("%s: %v; want that it is not defined", path, err)
		}
	}
}

func isNotDefined(err error) bool {
	_, is := err.(metadata.NotDefinedError)
	return is
}

func TestGoogleSDKChoosesScopesAmongThoseListed(t *testing.T) {
	const small, other = "https://www.googleapis.com/auth/devstorage.read_only", "https://www.googleapis.com/auth/bigquery"
	a := open(t, newCambio(t), door.Settings{GCE: &door.GCE{
		Listen: loopback, Target: "vertex", Project: "p", UIDs: []uint32{uint32(os.Getuid())}, Scopes: []string{small, other},
	}}, nil)
	a.environment()
	for range 3 {
		token, err := google.ComputeTokenSource("", other, small).Token()
		if err != nil || token.AccessToken != vended+"vertex"+other+"+"+small {
			t.Fatalf("not with both scopes: %v", err)
		}
	}
	if n := a.cambio.Exchanges("vertex"); n != 1 {
		t.Errorf("%d exchanges; want 1", n)
	}
	if _, err := google.ComputeTokenSource("", "https://www.googleapis.com/auth/cloud-platform").Token(); err == nil || !strings.Contains(err.Error(), "gce.scopes") {
		t.Errorf("a scope off the list: %v", err)
	}
}

func TestAzureSDKTakesTheIdentityEndpoint(t *testing.T) {
	for name, c := range map[string]struct {
		azure door.Azure
		scope string
		want  string
	}{
		"by resource":       {door.Azure{Targets: map[string]string{"https://cognitiveservices.azure.com": "azure-openai", "https://search.azure.com/.default": "azure-search"}}, "https://cognitiveservices.azure.com/.default", vended + "azure-openai"},
		"another resource":  {door.Azure{Targets: map[string]string{"https://cognitiveservices.azure.com": "azure-openai", "https://search.azure.com/.default": "azure-search"}}, "https://search.azure.com/.default", vended + "azure-search"},
		"whatever resource": {door.Azure{Target: "azure-openai"}, "https://whatever.example/.default", vended + "azure-openai"},
		"none":              {door.Azure{Targets: map[string]string{"https://cognitiveservices.azure.com": "azure-openai"}}, "https://vault.azure.net/.default", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, newCambio(t), door.Settings{Listen: loopback, Azure: &c.azure}, nil)
			a.environment()
			credential, err := azidentity.NewManagedIdentityCredential(nil)
			if err != nil {
				t.Fatal(err)
			}
			token, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{c.scope}})
			if c.want == "" {
				if err == nil || !strings.Contains(err.Error(), "azure.targets") {
					t.Errorf("a resource without a target: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if token.Token != c.want || time.Until(token.ExpiresOn) > life || time.Until(token.ExpiresOn) < life-time.Minute {
				t.Errorf("another token, or until %v", token.ExpiresOn)
			}
		})
	}
}

func TestAzureSDKAsksForOneIdentity(t *testing.T) {
	a := open(t, newCambio(t), door.Settings{Listen: loopback, Azure: &door.Azure{Target: "azure-openai", ClientID: "11111111-0000-4000-8000-000000000000"}}, nil)
	a.environment()
	for id, good := range map[azidentity.ManagedIDKind]bool{
		azidentity.ClientID("11111111-0000-4000-8000-000000000000"):   true,
		azidentity.ClientID("22222222-0000-4000-8000-000000000000"):   false,
		azidentity.ResourceID("/subscriptions/s/resourceGroups/g/id"): false,
	} {
		credential, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: id})
		if err != nil {
			t.Fatal(err)
		}
		_, err = credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://one.example/.default"}})
		if (err == nil) != good {
			t.Errorf("%v: %v", id, err)
		}
	}
}

func TestVaultSDKReads(t *testing.T) {
	for name, address := range map[string]string{"loopback": loopback, "unix socket": "unix:" + filepath.Join(short(t), "v.sock")} {
		t.Run(name, func(t *testing.T) {
			a := open(t, newCambio(t), door.Settings{Listen: address, Vault: &door.Vault{
				Targets: []string{"api-key", "bedrock"}, Paths: map[string]string{"database/creds/app": "db"},
			}}, nil)
			a.environment()
			client, err := vault.NewClient(nil)
			if err != nil {
				t.Fatal(err)
			}
			health, err := client.Sys().Health()
			if err != nil || !health.Initialized || health.Sealed {
				t.Errorf("health: %+v, %v", health, err)
			}
			req := client.NewRequest("HEAD", "/v1/sys/health")
			//lint:ignore SA1019 it is the one way of that client to send HEAD, as hvac does
			if resp, err := client.RawRequestWithContext(t.Context(), req); err != nil || resp.StatusCode != 200 {
				t.Errorf("health by HEAD: %v", err)
			}
			if self, err := client.Auth().Token().LookupSelf(); err != nil || self.Data["type"] != "service" {
				t.Errorf("lookup-self: %v", err)
			}
			lease, err := client.Logical().Read("database/creds/app")
			if err != nil {
				t.Fatal(err)
			}
			if lease.LeaseID != "database/creds/app/1" || lease.Renewable || lease.Data["username"] != "v-app" || lease.Data["password"] != vended+"db" ||
				lease.LeaseDuration <= 0 || lease.LeaseDuration > int(life/time.Second) {
				t.Errorf("lease %q for %d s, renewable %v", lease.LeaseID, lease.LeaseDuration, lease.Renewable)
			}
			secret, err := client.KVv2("secret").Get(t.Context(), "api-key")
			if err != nil {
				t.Fatal(err)
			}
			if secret.Data["value"] != vended+"api-key" || secret.VersionMetadata == nil || secret.VersionMetadata.Version <= 0 {
				t.Errorf("KV 2: %v", secret.VersionMetadata)
			}
			keys, err := client.KVv1("secret").Get(t.Context(), "bedrock")
			if err != nil || keys.Data["access_key"] != "ASIABEDROCK" || keys.Data["session_token"] != vended+"bedrock" {
				t.Errorf("KV 1: %v", err)
			}
			mount, err := client.Logical().Read("sys/internal/ui/mounts/secret/api-key")
			if err != nil || mount.Data["path"] != "secret/" || mount.Data["options"].(map[string]any)["version"] != "2" {
				t.Errorf("the mount: %v", err)
			}
			if none, err := client.Logical().Read("secret/data/other"); err == nil && none != nil {
				t.Error("there is something at a path without a target")
			}
			client.SetToken("wrong")
			if _, err := client.Logical().Read("database/creds/app"); err == nil || !strings.Contains(err.Error(), "permission denied") {
				t.Errorf("a wrong token: %v", err)
			}
		})
	}
}

// short is a folder whose path is short enough for a socket.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "door")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
