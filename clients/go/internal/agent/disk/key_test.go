package disk

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzParseKey(f *testing.F) {
	f.Add("mine")
	f.Add(string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte{0x30, 0}})))
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := parseKey("key.pem", []byte(text)); err == nil && key.Validate() != nil {
			t.Error("a key is taken that is none")
		} else if err != nil && len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Error("the error holds what was in the file")
		}
	})
}

// A key that somebody else wrote, or could read, is theirs too.
func TestS36KeysOfOthersAreNotUsed(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	never := func() (*rsa.PrivateKey, error) { return nil, errors.New("a new one is made") }
	path := filepath.Join(t.TempDir(), "key.pem")
	if _, err := Own(0o600).Key(path, never); err == nil || err.Error() != "a new one is made" {
		t.Errorf("without one: %v", err)
	}
	if err := Keep(path, string(PEM(key)), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := Own(0o600).Key(path, never); err != nil || !found.Equal(key) {
		t.Errorf("its own: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Own(0o600).Key(path, never); err == nil || !strings.Contains(err.Error(), "may read it") {
		t.Errorf("readable by others: %v", err)
	}
	link := path + ".link"
	if err := errors.Join(os.Chmod(path, 0o600), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	if _, err := Own(0o600).Key(link, never); err == nil || !strings.Contains(err.Error(), "it is no file") {
		t.Errorf("by a link: %v", err)
	}
	if os.Geteuid() != 0 {
		return // only root can give a file away, and read another's that is closed
	}
	if err := os.Chown(path, 4242, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Own(0o600).Key(path, never); err == nil || !strings.Contains(err.Error(), "user 4242's") {
		t.Errorf("of another user: %v", err)
	}
	if _, err := (Access{Mode: 0o600, UID: 4242, GID: -1}).Key(path, never); err != nil {
		t.Errorf("of the user that it is made for: %v", err)
	}
}
