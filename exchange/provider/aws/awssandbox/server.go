package awssandbox

import (
	"encoding/base32"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// Server is the stand-in. It is safe for concurrent use.
type Server struct {
	// Weather is that of STS. Bedrock's is always fair.
	Weather sandbox.Weather

	now       func() time.Time
	random    io.Reader
	account   string
	region    string
	singleUse bool
	providers map[string]*identityProvider // by issuer
	roles     map[string]*role             // by ARN
	managed   map[string]*policy           // by ARN
	keys      map[string]*identity         // of users, by access key id
	handler   http.Handler

	mu       sync.Mutex
	sessions map[string]*identity // by access key id
	order    []string             // their ids, the oldest first
}

// New makes a stand-in of an account that trusts the world's issuer.
func New(w sandbox.World, setup Setup) (*Server, error) {
	s := &Server{
		now: w.Now, random: w.Random, account: setup.Account, region: setup.Region, singleUse: setup.SingleUse,
		providers: map[string]*identityProvider{}, roles: map[string]*role{}, managed: map[string]*policy{},
		keys: map[string]*identity{}, sessions: map[string]*identity{},
	}
	if s.account == "" {
		s.account = DefaultAccount
	}
	if s.region == "" {
		s.region = DefaultRegion
	}
	if err := s.build(w, setup); err != nil {
		return nil, fmt.Errorf("setting the sandbox of AWS up: %w", err)
	}
	token := s.Weather.Wrap(http.HandlerFunc(s.serveSTS))
	s.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/model/") {
			s.serveBedrock(rw, r)
			return
		}
		token.ServeHTTP(rw, r)
	})
	return s, nil
}

// ServeHTTP answers as STS at /, and as the Bedrock runtime under /model/.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(rw, r) }

// Calls is how often STS was asked.
func (s *Server) Calls() int64 { return s.Weather.Calls() }

// maxBody bounds a request, in bytes.
const maxBody = 1 << 20

func readBody(r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	return body, err == nil && len(body) <= maxBody
}

// text is random, of n bytes' strength.
func (s *Server) text(n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(s.random, b); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b), nil
}

// name is an id as AWS makes them: four letters for the kind, then sixteen.
func (s *Server) name(kind string) (string, error) {
	text, err := s.text(10)
	return kind + text, err
}

// refusal is an answer that says no.
type refusal struct {
	status  int
	code    string
	message string
}

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}
