package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// floor is the bare work of one audited exchange and nothing besides: read a
// form, verify an RS256 signature, read the claims, sign an ES256 token, commit
// one row with the others of the moment, answer JSON. It has no policy, no strict
// decoding, no limits, no metrics: it is what the same machine could do at best
// with the same pieces, so that the exchange's rate has something to stand beside.
type floor struct {
	subjects *rsa.PublicKey
	key      *ecdsa.PrivateKey
	rows     chan floorRow
}

type floorRow struct {
	id     [16]byte
	record string
	done   chan error
}

// floorBatch and floorFlushers are those of the ledger.
const (
	floorBatch    = 512
	floorFlushers = 2
)

// serveFloor runs until its context ends. The table it writes to is made anew.
func serveFloor(ctx context.Context, l net.Listener, dsn string, subjects *rsa.PublicKey) error {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connecting the floor to PostgreSQL: %w", err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, `drop table if exists floor; create table floor (id uuid primary key, record text not null)`); err != nil {
		return fmt.Errorf("making the floor's table: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	f := &floor{subjects: subjects, key: key, rows: make(chan floorRow, 4096)}
	for range floorFlushers {
		go f.flush(ctx, pool)
	}
	server := &http.Server{Handler: f, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (f *floor) flush(ctx context.Context, pool *pgxpool.Pool) {
	for {
		var batch []floorRow
		select {
		case r := <-f.rows:
			batch = append(batch, r)
		case <-ctx.Done():
			return
		}
	fill:
		for len(batch) < floorBatch {
			select {
			case r := <-f.rows:
				batch = append(batch, r)
			default:
				break fill
			}
		}
		ids, records := make([][16]byte, len(batch)), make([]string, len(batch))
		for i, r := range batch {
			ids[i], records[i] = r.id, r.record
		}
		_, err := pool.Exec(ctx, `insert into floor (id, record) select * from unnest($1::uuid[], $2::text[])`, ids, records)
		for _, r := range batch {
			r.done <- err
		}
	}
}

// floorClaims is all that the floor reads of a subject token.
type floorClaims struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	Expires int64  `json:"exp"`
}

func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	token := r.PostForm.Get("subject_token")
	claims, err := f.verify(token)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now()
	row := floorRow{id: uuid7(now), done: make(chan error, 1)}
	access, err := f.sign(claims.Subject, r.PostForm.Get("audience"), now)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	row.record = floorRecord(row.id, claims, r, now)
	f.rows <- row
	if err := <-row.done; err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": 900,
		"issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
	})
}

func (f *floor) verify(token string) (floorClaims, error) {
	var claims floorClaims
	signed, signature, ok := cutLast(token)
	if !ok {
		return claims, errors.New("not a compact JWS")
	}
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return claims, err
	}
	sum := sha256.Sum256([]byte(signed))
	if err := rsa.VerifyPKCS1v15(f.subjects, crypto.SHA256, sum[:], raw); err != nil {
		return claims, err
	}
	_, payload, _ := strings.Cut(signed, ".")
	body, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return claims, err
	}
	return claims, json.Unmarshal(body, &claims)
}

func cutLast(token string) (before, after string, ok bool) {
	i := strings.LastIndexByte(token, '.')
	if i < 0 {
		return "", "", false
	}
	return token[:i], token[i+1:], true
}

func (f *floor) sign(subject, audience string, now time.Time) (string, error) {
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","typ":"at+jwt","kid":"floor"}`))
	body, err := json.Marshal(map[string]any{
		"iss": "http://floor", "sub": subject, "aud": audience, "client_id": subject, "scope": "tools.read",
		"iat": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(), "jti": rand.Text(),
	})
	if err != nil {
		return "", err
	}
	signed := header + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, f.key, sum[:])
	if err != nil {
		return "", err
	}
	var raw [64]byte
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// floorRecord is a row of the size that the ledger's records have, about a
// thousand bytes.
func floorRecord(id [16]byte, c floorClaims, r *http.Request, now time.Time) string {
	return fmt.Sprintf(`{"exchange":"%[1]x","type":"issued","at":"%[2]s","tenant":"default","subject":"%[3]s","trust":"%[4]s",`+
		`"target":"%[5]s","provider":"mcp","door":"oauth","grant_type":"%[6]s",`+
		`"token_type":"urn:ietf:params:oauth:token-type:access_token","asked_targets":["%[5]s"],"asked_scopes":["tools.read"],`+
		`"scopes":["tools.read"],"lifetime_s":899,"expires":"%[2]s","rule":"rule-0500","revision":"%064[7]d","outcome":"issued",`+
		`"credential":"%064[7]d","handle":"%[1]x","lease":"%[1]x","client_ip":"%[8]s","user_agent":"%[9]s","trace_id":"%[1]x",`+
		`"token_id":"bench-%[1]x","key_id":"bench","durations_us":{"verify":100,"decide":10,"vend":100}}`,
		id, now.UTC().Format(time.RFC3339Nano), c.Subject, c.Issuer, r.PostForm.Get("audience"), r.PostForm.Get("grant_type"),
		0, r.RemoteAddr, r.UserAgent())
}

func uuid7(now time.Time) (id [16]byte) {
	_, _ = rand.Read(id[6:])
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}
