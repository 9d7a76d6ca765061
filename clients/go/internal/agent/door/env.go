package door

import (
	"maps"
	"net"
	"path/filepath"
	"strings"
)

// Env is what an SDK's process needs in its environment to find the doors. bound has,
// for each address of Handlers, the one that was really bound; without it the configured
// one is meant. It holds the secret where an SDK reads none from a file: it is for the
// environment of a process, and for nothing that is shown.
func (r *Room) Env(bound map[string]string) map[string]string {
	s := &r.settings
	at := func(address string) string {
		if real := bound[address]; real != "" {
			return real
		}
		return address
	}
	own := "http://" + at(s.listen())
	env := map[string]string{}
	if s.AWS != nil {
		env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = own + awsPath + s.AWS.Target
		if file := r.secretFile(); file != "" {
			env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = file
		} else {
			env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = r.secret.Reveal()
		}
	}
	if s.GCE != nil {
		host := at(s.GCE.listen(s))
		env["GCE_METADATA_HOST"] = host
		env["GCE_METADATA_IP"] = host // google-auth for Python wants both
		env["GOOGLE_CLOUD_PROJECT"] = s.GCE.Project
	}
	if s.Azure != nil {
		env["IDENTITY_ENDPOINT"] = own + azurePath
		env["IDENTITY_HEADER"] = r.secret.Reveal()
	}
	if s.OCI != nil {
		maps.Copy(env, r.ociEnv(s.OCI))
	}
	if s.IBM != nil {
		env[s.IBM.Service+"_AUTH_TYPE"] = "container"
		env[s.IBM.Service+"_CR_TOKEN_FILENAME"] = r.secretFile()
		env[s.IBM.Service+"_AUTH_URL"] = own + strings.TrimSuffix(ibmPath, "/identity/token")
		env[s.IBM.Service+"_IAM_PROFILE_ID"] = s.IBM.ProfileID
		if s.IBM.ProfileID == "" {
			env[s.IBM.Service+"_IAM_PROFILE_ID"] = s.IBM.Target // the SDK insists on one
		}
	}
	if s.Vault != nil {
		env["VAULT_ADDR"] = own
		if path, ok := strings.CutPrefix(s.listen(), unixPrefix); ok {
			env["VAULT_ADDR"] = "unix://" + path
		}
		env["VAULT_TOKEN"] = r.secret.Reveal()
	}
	return env
}

// ociEnv is that of resource principals. By KUBERNETES_SERVICE_HOST SDKs find proxymux,
// and the pod's Kubernetes clients their server, so it is left as it is unless asked for:
// the SDK for Go can be given the listener's host.
func (r *Room) ociEnv(o *OCI) map[string]string {
	env := map[string]string{"OCI_RESOURCE_PRINCIPAL_VERSION": "2.2"}
	if f := o.Files; f != nil {
		env["OCI_RESOURCE_PRINCIPAL_RPST"] = filepath.Join(f.Dir, ociToken)
		env["OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM"] = filepath.Join(f.Dir, ociKey)
		env["OCI_RESOURCE_PRINCIPAL_REGION"] = filepath.Join(f.Dir, ociRegion)
		if told := r.files.region.Load(); f.Region != "" {
			env["OCI_RESOURCE_PRINCIPAL_REGION"] = f.Region
		} else if told != nil {
			env["OCI_RESOURCE_PRINCIPAL_REGION"] = *told
		}
	}
	if p := o.Proxymux; p != nil {
		env["OCI_RESOURCE_PRINCIPAL_REGION"] = p.Region
		env["OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH"] = p.CAFile
		if host, _, err := net.SplitHostPort(p.listen()); err == nil && p.KubernetesHost {
			env["KUBERNETES_SERVICE_HOST"] = host
		}
	}
	return env
}

// secretFile is where SDKs read the secret; empty: nowhere.
func (r *Room) secretFile() string {
	if r.settings.SecretFile != "" {
		return r.settings.SecretFile
	}
	return r.settings.SecretFrom
}
