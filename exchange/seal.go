package exchange

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
)

// SealKeySize is the length of a sealing key in bytes.
const SealKeySize = 32

const (
	sealVersion  = 1
	sealKeyIDLen = 8
)

// Sealer encrypts what the database keeps for us (AES-256-GCM, NIST SP 800-38D)
// and makes the keyed hashes by which the ledger names credentials. What is
// sealed is bound to its purpose and its id, so that a row moved elsewhere does
// not open (S4). It is safe for concurrent use.
type Sealer struct {
	current [sealKeyIDLen]byte
	order   [][sealKeyIDLen]byte // as given: the current key first
	keys    map[[sealKeyIDLen]byte]cipher.AEAD
	mac     []byte
	random  io.Reader
}

// NewSealer seals under key and opens what key or one of older sealed. Each is
// SealKeySize bytes.
func NewSealer(random io.Reader, key []byte, older ...[]byte) (*Sealer, error) {
	s := &Sealer{keys: map[[sealKeyIDLen]byte]cipher.AEAD{}, random: random}
	for i, k := range append([][]byte{key}, older...) {
		if len(k) != SealKeySize {
			return nil, fmt.Errorf("a sealing key is %d bytes; this one is %d", SealKeySize, len(k))
		}
		encryption, err := hkdf.Key(sha256.New, k, nil, "cambio seal v1", 32)
		if err != nil {
			return nil, fmt.Errorf("deriving the sealing key: %w", err)
		}
		block, err := aes.NewCipher(encryption)
		if err != nil {
			return nil, fmt.Errorf("preparing the cipher: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("preparing the cipher: %w", err)
		}
		id := sealKeyID(encryption)
		s.keys[id] = aead
		s.order = append(s.order, id)
		if i > 0 {
			continue
		}
		s.current = id
		if s.mac, err = hkdf.Key(sha256.New, k, nil, "cambio credential fingerprint v1", 32); err != nil {
			return nil, fmt.Errorf("deriving the fingerprint key: %w", err)
		}
	}
	return s, nil
}

func sealKeyID(encryption []byte) (id [sealKeyIDLen]byte) {
	sum := sha256.Sum256(append([]byte("cambio seal key id v1"), encryption...))
	copy(id[:], sum[:])
	return id
}

// Seal encrypts plain for (purpose, id).
func (s *Sealer) Seal(purpose, id string, plain []byte) ([]byte, error) {
	aead := s.keys[s.current]
	out := append([]byte{sealVersion}, s.current[:]...)
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(s.random, nonce); err != nil {
		return nil, fmt.Errorf("reading randomness for a seal: %w", err)
	}
	out = append(out, nonce...)
	return aead.Seal(out, nonce, plain, sealContext(purpose, id)), nil
}

// Open decrypts what Seal made for the same (purpose, id).
func (s *Sealer) Open(purpose, id string, sealed []byte) ([]byte, error) {
	if len(sealed) < 1+sealKeyIDLen || sealed[0] != sealVersion {
		return nil, errors.New("not a sealed value of a known version")
	}
	var key [sealKeyIDLen]byte
	copy(key[:], sealed[1:])
	aead, ok := s.keys[key]
	if !ok {
		return nil, fmt.Errorf("sealed under the sealing key %x, which is neither seal.key nor in seal.old_keys: put the earlier key into seal.old_keys", key)
	}
	rest := sealed[1+sealKeyIDLen:]
	if len(rest) < aead.NonceSize() {
		return nil, errors.New("a sealed value cut short")
	}
	plain, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], sealContext(purpose, id))
	if err != nil {
		return nil, fmt.Errorf("opening a sealed %s: it was altered, or belongs to another row", purpose)
	}
	return plain, nil
}

// Reseal seals under the current key what another sealed for (purpose, id). What
// the current key sealed comes back as nil.
func (s *Sealer) Reseal(purpose, id string, sealed []byte) ([]byte, error) {
	if bytes.HasPrefix(sealed, s.Header()) {
		return nil, nil
	}
	plain, err := s.Open(purpose, id, sealed)
	if err != nil {
		return nil, err
	}
	return s.Seal(purpose, id, plain)
}

// Header is what everything begins with that the current key sealed.
func (s *Sealer) Header() []byte { return append([]byte{sealVersion}, s.current[:]...) }

// KeyID names the current key: 16 hexadecimal digits of a hash, which tell nothing
// of the key.
func (s *Sealer) KeyID() string { return hex.EncodeToString(s.current[:]) }

// SealedUnder names the key that a value says it was sealed under, and its place
// among this Sealer's keys: 0 for the current one, then the older ones from 1; -1
// for a key that this Sealer does not have. What is no sealed value has no name. It
// opens nothing: whether the value is whole is another matter.
func (s *Sealer) SealedUnder(sealed []byte) (keyID string, place int) {
	if len(sealed) < 1+sealKeyIDLen || sealed[0] != sealVersion {
		return "", -1
	}
	id := [sealKeyIDLen]byte(sealed[1:])
	return hex.EncodeToString(id[:]), slices.Index(s.order, id)
}

// Resealed is what became of a change of the sealing key.
type Resealed struct {
	Done    int // sealed anew; where nothing was to be written: that would be
	Current int // under the current key already, among those that were looked at
	// Faults are the values that do not open and were left as they are, at most
	// MaxResealFaults; Faulty is how many they are.
	Faulty int
	Faults []error
}

// MaxResealFaults bounds how many faults are described.
const MaxResealFaults = 20

// Fault counts a value that does not open.
func (r *Resealed) Fault(err error) {
	if r.Faulty++; len(r.Faults) < MaxResealFaults {
		r.Faults = append(r.Faults, err)
	}
}

// sealContext is the associated data: both parts, unambiguously.
func sealContext(purpose, id string) []byte {
	aad := binary.BigEndian.AppendUint32(nil, uint32(len(purpose)))
	aad = append(aad, purpose...)
	return append(aad, id...)
}

// Fingerprint names a credential in the ledger: HMAC-SHA-256 under a key of its
// own, so that the ledger cannot be searched for a guessed credential without
// the key.
func (s *Sealer) Fingerprint(credential Secret) string {
	mac := hmac.New(sha256.New, s.mac)
	mac.Write([]byte(credential.Reveal()))
	return hex.EncodeToString(mac.Sum(nil))
}
