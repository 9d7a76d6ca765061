package door

import (
	"cmp"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/disk"
	"github.com/cambio-sts/cambio/clients/go/oci"
)

const (
	proxymuxPath = "/resourcePrincipalSessionTokens"
	// maxPodKey bounds the body, in bytes: an RSA key of 8192 bits has 1.5 KiB in PEM.
	maxPodKey = 16 << 10
	// maxPodKeys bounds how many keys are remembered: SDKs make one for each token.
	maxPodKeys           = 64
	minKeyBits, maxBits  = 2048, 8192
	maxServiceAccountLen = 32 << 10 // bytes of a token
)

// proxymux answers as the service does by which pods on OKE get tokens for keys of their
// own (oci-go-sdk, common/auth, federation_client_oke_workload_identity.go). The key that
// signs never leaves the SDK.
type proxymux struct {
	room      *Room
	request   cambio.Request
	tokenFile string

	mu   sync.Mutex
	keys map[[sha256.Size]byte]*podKey
	uses uint64
}

// podKey is the source of one key, and when it was asked for last.
type podKey struct {
	source *cambio.TokenSource
	used   uint64
}

func (r *Room) proxymuxDoor(s *Proxymux) (*door, error) {
	request, err := r.targets.Request(s.Target)
	if err != nil {
		return nil, err
	}
	r.targets.PerUser(s.Target)
	p := &proxymux{room: r, request: request, tokenFile: s.TokenFile, keys: map[[sha256.Size]byte]*podKey{}}
	return &door{
		name: "oci", method: http.MethodPost, body: maxPodKey,
		owns:  func(path string) bool { return path == proxymuxPath },
		admit: p.admit, serve: p.serve,
		refuse: func(w http.ResponseWriter, f *refusal) {
			status := f.status
			if status == http.StatusForbidden {
				status = http.StatusBadRequest // the SDK would take 403 for a cluster of the wrong kind
			}
			answerJSON(w, status, map[string]string{"code": f.code, "message": f.text})
		},
	}, nil
}

// admit takes the secret, or the pod's own service account token: SDKs bring what they
// find where Kubernetes mounts it, and take nothing for it that is no JWT.
func (p *proxymux) admit(r *http.Request) error {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return unauthorized
	}
	given, ok := strings.CutPrefix(values[0], "Bearer ")
	if !ok {
		return unauthorized
	}
	brought := cambio.NewSecret(given)
	if p.room.secret.Equal(brought) {
		return nil
	}
	if p.tokenFile != "" {
		text, err := disk.Read(p.tokenFile, maxServiceAccountLen)
		if own := cambio.NewSecret(strings.TrimSpace(text)); err == nil && !own.IsZero() && own.Equal(brought) {
			return nil
		}
	}
	return unauthorized
}

func (p *proxymux) serve(w http.ResponseWriter, r *http.Request) error {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	key, err := parsePodKey(text)
	if err != nil {
		return &refusal{status: http.StatusBadRequest, code: "InvalidParameter", text: err.Error()}
	}
	c, err := p.source(key).Best(r.Context(), ociLeft)
	if err != nil {
		return err
	}
	token, err := oci.Read(c)
	if err != nil {
		return &refusal{status: http.StatusForbidden, code: "wrong_target", text: err.Error()}
	}
	answer, err := json.Marshal(map[string]string{"token": token.KeyID.Reveal()})
	if err != nil {
		return err
	}
	// No newline: the SDK for Go takes the first and the last byte for the quotes.
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `"`+base64.StdEncoding.EncodeToString(answer)+`"`)
	return nil
}

// source is that of a key. The one that nobody has asked for the longest makes room.
func (p *proxymux) source(key []byte) *cambio.TokenSource {
	id := sha256.Sum256(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.uses++
	known, ok := p.keys[id]
	if !ok {
		if len(p.keys) >= maxPodKeys {
			delete(p.keys, slices.MinFunc(slices.Collect(maps.Keys(p.keys)), func(a, b [sha256.Size]byte) int {
				return cmp.Compare(p.keys[a].used, p.keys[b].used)
			}))
		}
		request := p.request
		request.PublicKey = key
		known = &podKey{source: p.room.targets.Client().NewTokenSource(request)}
		p.keys[id] = known
	}
	known.used = p.uses
	return known.source
}

var errPodKey = errors.New("the body is {\"podKey\": …} with an RSA public key of 2048 to 8192 bits, in PEM or the base64 of it")

// parsePodKey reads the key as either SDK sends it: that for Go as PEM, that for Python
// as what stands between its armour. It returns a SubjectPublicKeyInfo in DER.
func parsePodKey(body []byte) ([]byte, error) {
	var payload struct {
		PodKey string `json:"podKey"`
	}
	if json.Unmarshal(body, &payload) != nil {
		return nil, errPodKey
	}
	var der []byte
	if text := strings.TrimSpace(payload.PodKey); strings.HasPrefix(text, "-----") {
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
			return nil, errPodKey
		}
		der = block.Bytes
	} else {
		var err error
		if der, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err != nil {
			return nil, errPodKey
		}
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errPodKey
	}
	key, ok := public.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < minKeyBits || key.N.BitLen() > maxBits {
		return nil, errPodKey
	}
	return x509.MarshalPKIXPublicKey(key)
}
