package disk

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// maxKey bounds the file of a key, in bytes.
const maxKey = 32 << 10

// Key takes the key that is there, or makes one if there is none, and writes nothing:
// programs that read a key once go on over a restart of the agent.
func (a Access) Key(path string, make func() (*rsa.PrivateKey, error)) (*rsa.PrivateKey, error) {
	key, err := a.readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return make()
	}
	return key, err
}

// readKey reads a key that nobody else could have read or put there: tokens are bound to
// it, and whoever knows it signs with them.
func (a Access) readKey(path string) (*rsa.PrivateKey, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&^(a.Mode|0o600) != 0 {
		return nil, fmt.Errorf("%s: it is no file, or others than configured may read it: remove it, so that a new key is made", path)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && !slices.Contains([]int{0, os.Geteuid(), a.UID}, int(stat.Uid)) {
		return nil, fmt.Errorf("%s: it is user %d's, who knows the key: remove it, so that a new key is made", path, stat.Uid)
	}
	text, err := ReadOwn(path, maxKey)
	if err != nil {
		return nil, err
	}
	return parseKey(path, text)
}

func parseKey(path string, text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyType {
		return nil, fmt.Errorf("%s holds no RSA key as the agent writes it: remove it, so that one is made", path)
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no RSA key as the agent writes it: remove it, so that one is made", path)
	}
	return key, nil
}

// keyType marks PKCS #1, which all of Oracle's SDKs read.
const keyType = "RSA PRIVATE KEY"

// PEM is a key as Key reads it.
func PEM(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: x509.MarshalPKCS1PrivateKey(key)})
}
