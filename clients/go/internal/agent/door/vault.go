package door

import (
	"encoding/json"
	"net/http"
	"path"
	"strings"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/aws"
)

const (
	vaultRoot   = "/v1/"
	vaultHealth = "sys/health"
	vaultSelf   = "auth/token/lookup-self"
	vaultMounts = "sys/internal/ui/mounts/"
)

// vault answers reads as HashiCorp Vault does (Vault's HTTP API: KV secrets engine 1 and
// 2, database secrets engine, /auth/token/lookup-self, /sys/health). The secret is the
// token.
type vault struct {
	room  *Room
	mount string
	paths map[string]*cambio.TokenSource
}

func (r *Room) vaultDoor(s *Vault) (*door, error) {
	names := map[string]string{} // of targets, by path
	for _, name := range s.Targets {
		names[s.mount()+"/"+name] = name
		names[s.mount()+"/data/"+name] = name
	}
	for path, name := range s.Paths {
		names[path] = name
	}
	v := &vault{room: r, mount: s.mount(), paths: map[string]*cambio.TokenSource{}}
	for path, name := range names {
		source, err := r.targets.Source(name)
		if err != nil {
			return nil, err
		}
		v.paths[path] = source
	}
	return &door{
		name: "vault", method: http.MethodGet, head: vaultRoot + vaultHealth, // as hvac asks
		owns:  func(path string) bool { return strings.HasPrefix(path, vaultRoot) },
		admit: v.admit, serve: v.serve,
		refuse: func(w http.ResponseWriter, f *refusal) {
			answerJSON(w, f.status, map[string][]string{"errors": {f.text}})
		},
	}, nil
}

// admit lets in whoever has the token. Of health everybody may hear, as in Vault: it says
// nothing of what there is.
func (v *vault) admit(r *http.Request) error {
	if r.URL.Path != vaultRoot+vaultHealth && !v.room.holds(r.Header["X-Vault-Token"]) {
		return &refusal{status: http.StatusForbidden, code: "unauthorized", text: "permission denied"}
	}
	return nil
}

func (v *vault) serve(w http.ResponseWriter, r *http.Request) error {
	what := strings.TrimPrefix(r.URL.Path, vaultRoot)
	switch {
	case what == vaultHealth:
		answerJSON(w, http.StatusOK, map[string]any{
			"initialized": true, "sealed": false, "standby": false, "performance_standby": false,
			"server_time_utc": v.room.now().Unix(), "version": "1.0.0+cambio-agent", "cluster_name": "cambio-agent",
		})
		return nil
	case what == vaultSelf:
		v.answer(w, 0, "", map[string]any{
			"accessor": "", "display_name": "cambio-agent", "policies": []string{"default"}, "type": "service", "path": "auth/token/create",
			"ttl": 0, "creation_ttl": 0, "explicit_max_ttl": 0, "num_uses": 0, "renewable": false, "orphan": true,
			"expire_time": nil, "entity_id": "", "meta": nil,
		})
		return nil
	case strings.HasPrefix(what, vaultMounts):
		return v.mounted(w, strings.TrimPrefix(what, vaultMounts))
	}
	source, ok := v.paths[what]
	if !ok {
		return notFound
	}
	c, err := source.Best(r.Context(), tokenLeft)
	if err != nil {
		return err
	}
	lease, fields, err := vaultFields(c)
	if err != nil {
		return err
	}
	if !versioned(what) {
		if lease == "" {
			lease = path.Join(what, c.ExchangeID)
		}
		v.answer(w, max(v.room.lifetime(c), 0), lease, fields)
		return nil
	}
	// A version is a whole number that grows: each credential ends later than the last.
	v.answer(w, 0, "", map[string]any{"data": fields, "metadata": map[string]any{
		"created_time": v.room.now().UTC().Format(time.RFC3339Nano), "custom_metadata": nil,
		"deletion_time": "", "destroyed": false, "version": c.Expires.Unix(),
	}})
	return nil
}

// mounted tells which engine is at a path, as the command line of Vault asks before it
// reads from KV.
func (v *vault) mounted(w http.ResponseWriter, path string) error {
	mount, _, _ := strings.Cut(path, "/")
	version := ""
	for known := range v.paths {
		if strings.HasPrefix(known, mount+"/") {
			version = "1"
			if versioned(known) {
				version = "2"
				break
			}
		}
	}
	if version == "" {
		return &refusal{status: http.StatusForbidden, code: "forbidden", text: "permission denied"}
	}
	v.answer(w, 0, "", map[string]any{"path": mount + "/", "type": "kv", "options": map[string]string{"version": version}})
	return nil
}

// versioned reports whether a path is one of KV 2.
func versioned(path string) bool {
	_, rest, _ := strings.Cut(path, "/")
	return strings.HasPrefix(rest, "data/")
}

func (v *vault) answer(w http.ResponseWriter, life int64, lease string, data any) {
	answerJSON(w, http.StatusOK, map[string]any{
		"request_id": "", "lease_id": lease, "lease_duration": life, "renewable": false,
		"data": data, "wrap_info": nil, "warnings": nil, "auth": nil,
	})
}

// vaultFields is a credential as Vault's engines name its parts: the fields of what came
// from a Vault, the names of the AWS engine, the members of other objects, and `value`
// for what is one text. No lease of an engine can be renewed from here: reading again
// gives the next one.
func vaultFields(c *cambio.Credential) (lease string, fields map[string]any, err error) {
	value := c.Value.Reveal()
	switch c.IssuedTokenType {
	case cambio.TokenTypeVaultLease:
		var held struct {
			LeaseID string         `json:"lease_id"`
			Data    map[string]any `json:"data"`
		}
		if json.Unmarshal([]byte(value), &held) != nil || held.Data == nil {
			return "", nil, &refusal{status: http.StatusForbidden, code: "wrong_target", text: "the target's credential is no lease: is the server newer than this agent?"}
		}
		return held.LeaseID, held.Data, nil
	case cambio.TokenTypeAWSCredentials:
		credentials, err := aws.Read(c)
		if err != nil {
			return "", nil, &refusal{status: http.StatusForbidden, code: "wrong_target", text: err.Error()}
		}
		return "", map[string]any{
			"access_key": credentials.AccessKeyID, "secret_key": credentials.SecretAccessKey,
			"session_token": credentials.SessionToken, "security_token": credentials.SessionToken,
		}, nil
	case cambio.TokenTypeOCIRPST, cambio.TokenTypeOCIUPST, cambio.TokenTypeOCISigningSession:
		if json.Unmarshal([]byte(value), &fields) == nil && fields != nil {
			return "", fields, nil
		}
	}
	return "", map[string]any{"value": value}, nil
}
