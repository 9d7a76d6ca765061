package devworld

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// What a data folder holds for the providers' stand-ins.
const (
	// CloudsFile is the policy file with a target for each.
	CloudsFile = "clouds.yaml"
	// Workload is the `sub` of the service account that their accounts know.
	Workload = "system:serviceaccount:llm:gateway"
)

// CAFile is the PEM file of the authority that certifies the stand-ins. It is another
// at each start.
func (w *World) CAFile() string { return w.path("ca.pem") }

// EnvironmentFile is a shell file with what SDKs read to find the stand-ins.
func (w *World) EnvironmentFile() string { return w.path("clouds.env") }

// WriteClouds writes both.
func (w *World) WriteClouds(authority []byte, environment string) error {
	if err := writeFile(w.CAFile(), authority, 0o644); err != nil {
		return err
	}
	return writeFile(w.EnvironmentFile(), []byte(environment), 0o644)
}

// OCISecretFile holds the secret of OCI's application.
func (w *World) OCISecretFile() string { return w.path("world", "oci-client.secret") }

// OCISecret reads it, or makes it.
func (w *World) OCISecret() (exchange.Secret, error) {
	text, err := os.ReadFile(w.OCISecretFile())
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(rand.Text())
		err = writeFile(w.OCISecretFile(), append(text, '\n'), 0o600)
	}
	return exchange.NewSecret(strings.TrimSpace(string(text))), err
}

// ClusterKeys is the JWK Set of the cluster.
func (w *World) ClusterKeys() ([]byte, error) { return w.cluster.jwks() }

// Ports are those that the stand-ins had, by name; none in a new folder.
func (w *World) Ports() (map[string]int, error) {
	text, err := os.ReadFile(w.path("world", "ports.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ports map[string]int
	if err == nil {
		err = json.Unmarshal(text, &ports)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the ports of the stand-ins: %w", err)
	}
	return ports, nil
}

// KeepPorts remembers them.
func (w *World) KeepPorts(ports map[string]int) error {
	text, err := json.MarshalIndent(ports, "", "  ")
	if err != nil {
		return fmt.Errorf("keeping the ports of the stand-ins: %w", err)
	}
	return writeFile(w.path("world", "ports.json"), append(text, '\n'), 0o644)
}

// address is a stand-in's in a policy: of a URL, or a host by itself.
var address = regexp.MustCompile(`\b127\.0\.0\.1:[0-9]+`)

// MovePolicy puts the ports into the policy file of the stand-ins in place of those
// that were kept, and says whether that changed it. A file that is not there stays
// away.
func (w *World) MovePolicy(ports map[string]int) (moved bool, err error) {
	kept, err := w.Ports()
	if err != nil {
		return false, err
	}
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	became := map[string]string{}
	for name, port := range kept {
		if now, ok := ports[name]; ok && now != port {
			became[at(port)] = at(now)
		}
	}
	file := filepath.Join(w.PolicyDir(), CloudsFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || len(became) == 0 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("moving the stand-ins: %w", err)
	}
	edited := address.ReplaceAllStringFunc(string(text), func(old string) string {
		if now, ok := became[old]; ok {
			return now
		}
		return old
	})
	if edited == string(text) {
		return false, nil
	}
	return true, writeFile(file, []byte(edited), 0o644)
}
