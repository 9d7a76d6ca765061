package devworld

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Ready is what a running dev says of itself, in the ready file and in its data
// folder.
type Ready struct {
	URL       string `json:"url"`
	OpsURL    string `json:"ops_url"`
	Issuer    string `json:"issuer"` // Cambio's own
	PolicyDir string `json:"policy_dir"`
	DataDir   string `json:"data_dir"`
	// CAFile is the PEM file of the authority that certifies the stand-ins, whose
	// https URLs are in Clouds by provider.
	CAFile string            `json:"ca_file,omitempty"`
	Clouds map[string]string `json:"clouds,omitempty"`
}

// ReadyFile is where a data folder says that a dev runs from it.
func ReadyFile(dir string) string { return filepath.Join(dir, "dev.json") }

// Write puts the file in place at once: who sees it, reads all of it.
func (r Ready) Write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the ready file: %w", err)
	}
	if err := writeFile(file, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the ready file: %w", err)
	}
	return nil
}

// FindReady reads what the dev that runs from a data folder says. ErrNoData: none
// runs.
func FindReady(dir string) (Ready, error) {
	text, err := os.ReadFile(ReadyFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return Ready{}, fmt.Errorf("%w in %s", ErrNoData, dir)
	}
	if err != nil {
		return Ready{}, err
	}
	var r Ready
	if err := json.Unmarshal(text, &r); err != nil || r.URL == "" {
		return Ready{}, fmt.Errorf("%s is not what cambio dev wrote: start cambio dev again", ReadyFile(dir))
	}
	return r, nil
}
