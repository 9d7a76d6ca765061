// Package spiffe is the identity of a workload that SPIRE, or another implementation of
// the SPIFFE Workload API, gives JWT-SVIDs to.
//
//	identity, err := spiffe.New("https://cambio.example", "")
//	…
//	defer identity.Close()
//	client, err := cambio.New("https://cambio.example", identity)
package spiffe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// Identity asks the Workload API for each exchange: the agent beside the workload keeps
// SVIDs and renews them. It is safe for concurrent use.
type Identity struct {
	client   *workloadapi.Client
	audience string
}

// New is the identity by JWT-SVIDs for an audience: what the server's trust expects, its
// issuer URL as a rule. socket is the path of the Workload API's socket, or its address
// (SPIFFE Workload Endpoint §4: unix:///path, or tcp://ip:port on this machine); empty:
// that in SPIFFE_ENDPOINT_SOCKET. Nothing is asked yet, and the agent need not be there.
func New(audience, socket string) (*Identity, error) {
	if audience == "" {
		return nil, errors.New("spiffe: name the audience that the server's trust expects")
	}
	address, err := address(socket)
	if err != nil {
		return nil, fmt.Errorf("spiffe: %w", err)
	}
	retry := backoff.DefaultConfig
	retry.MaxDelay = 5 * time.Second // the agent may be restarted; two minutes would be long
	client, err := workloadapi.New(context.Background(), workloadapi.WithAddr(address),
		workloadapi.WithDialOptions(grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 5 * time.Second})))
	if err != nil {
		return nil, fmt.Errorf("spiffe: %w", err)
	}
	return &Identity{client: client, audience: audience}, nil
}

func address(socket string) (string, error) {
	if socket == "" {
		var set bool
		if socket, set = workloadapi.GetDefaultAddress(); !set || socket == "" {
			return "", fmt.Errorf("set %s to the socket of the Workload API, or name it", workloadapi.SocketEnv)
		}
	}
	if filepath.IsAbs(socket) {
		socket = (&url.URL{Scheme: "unix", Path: socket}).String()
	}
	if err := workloadapi.ValidateAddress(socket); err != nil {
		return "", err
	}
	u, err := url.Parse(socket)
	if err != nil {
		return "", err
	}
	if u.Scheme == "tcp" {
		if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.Unmap().IsLoopback() {
			return "", errors.New("the Workload API is spoken to without TLS, so only on this machine: use unix:///path, or tcp://127.0.0.1:port")
		}
	}
	return socket, nil
}

// SubjectToken is a JWT-SVID of the workload.
func (i *Identity) SubjectToken(ctx context.Context) (cambio.SubjectToken, error) {
	svid, err := i.client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: i.audience})
	if err != nil {
		if ctx.Err() != nil {
			return cambio.SubjectToken{}, ctx.Err()
		}
		switch status.Code(err) {
		case codes.PermissionDenied:
			return cambio.SubjectToken{}, errors.New("spiffe: the Workload API knows no identity of this workload: register it (spire-server entry create)")
		case codes.Unavailable:
			return cambio.SubjectToken{}, errors.New("spiffe: the Workload API does not answer: see that the agent runs and its socket is mounted here")
		case codes.InvalidArgument:
			return cambio.SubjectToken{}, fmt.Errorf("spiffe: the Workload API does not take the audience %q", i.audience)
		}
		return cambio.SubjectToken{}, fmt.Errorf("spiffe: asking the Workload API: %w", err)
	}
	return cambio.SubjectToken{Value: cambio.NewSecret(svid.Marshal()), Type: cambio.TokenTypeJWT, Expires: svid.Expiry}, nil
}

// Close ends the connection to the Workload API.
func (i *Identity) Close() error { return i.client.Close() }
