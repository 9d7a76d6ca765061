package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	clusterIssuer = "https://cluster.bench.example"
	clusterKeyID  = "bench"
)

// cluster mints the service-account tokens of an imaginary cluster (RS256, 2048
// bits, as a kube-apiserver does).
type cluster struct{ key *rsa.PrivateKey }

func newCluster() (*cluster, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	return &cluster{key}, err
}

// writeJWKS puts the public key where the trust's `keys: {file: …}` reads it.
func (c *cluster) writeJWKS(dir string) (string, error) {
	file := filepath.Join(dir, "cluster-jwks.json")
	e := base64.RawURLEncoding.EncodeToString([]byte{1, 0, 1})
	body, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": clusterKeyID,
		"n": base64.RawURLEncoding.EncodeToString(c.key.N.Bytes()), "e": e,
	}}})
	if err != nil {
		return "", err
	}
	return file, os.WriteFile(file, body, 0o644)
}

// readJWKS reads back what writeJWKS wrote.
func readJWKS(file string) (*rsa.PublicKey, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct {
			N string `json:"n"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || len(set.Keys) != 1 {
		return nil, fmt.Errorf("reading %s: not the key set that was written: %w", file, err)
	}
	n, err := base64.RawURLEncoding.DecodeString(set.Keys[0].N)
	if err != nil {
		return nil, err
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}, nil
}

// mint makes count distinct tokens, over accounts service accounts.
func (c *cluster) mint(count, accounts int) ([]string, error) {
	tokens := make([]string, count)
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		fault atomic.Pointer[error]
	)
	for range 2 {
		wg.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				if i >= count || fault.Load() != nil {
					return
				}
				token, err := c.one(i, i%accounts)
				if err != nil {
					fault.Store(&err)
					return
				}
				tokens[i] = token
			}
		})
	}
	wg.Wait()
	if err := fault.Load(); err != nil {
		return nil, *err
	}
	return tokens, nil
}

func (c *cluster) one(i, account int) (string, error) {
	now := time.Now()
	name := fmt.Sprintf("gateway-%04d", account)
	claims, err := json.Marshal(map[string]any{
		"aud": []string{"cambio"}, "iss": clusterIssuer, "sub": "system:serviceaccount:llm:" + name,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": fmt.Sprintf("bench-%d-%s", i, rand.Text()),
		"kubernetes.io": map[string]any{
			"namespace":      "llm",
			"serviceaccount": map[string]string{"name": name, "uid": fmt.Sprintf("00000000-0000-4000-8000-%012d", account)},
			"pod":            map[string]string{"name": name + "-0", "uid": fmt.Sprintf("00000000-0000-4000-9000-%012d", account)},
			"node":           map[string]string{"name": "node-1", "uid": "00000000-0000-4000-a000-000000000001"},
		},
	})
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"`+clusterKeyID+`"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, c.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// supply hands each token out once.
func supply(tokens []string) (func() (string, bool), *atomic.Int64) {
	var used atomic.Int64
	return func() (string, bool) {
		i := used.Add(1) - 1
		if int(i) >= len(tokens) {
			return "", false
		}
		return tokens[i], true
	}, &used
}

// cycle hands the tokens out round and round.
func cycle(tokens []string) func() (string, bool) {
	var used atomic.Int64
	return func() (string, bool) { return tokens[int(used.Add(1)-1)%len(tokens)], true }
}

// repeat hands one out for ever.
func repeat(token string) func() (string, bool) {
	return func() (string, bool) { return token, true }
}
