package clouds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// The stand-ins, in the order in which they get their ports.
const (
	AWS       = "aws"
	Azure     = "azure"
	GCP       = "gcp"
	OCI       = "oci"
	IBM       = "ibm"
	Anthropic = "anthropic"
	OpenAI    = "openai"
)

// Names lists them.
func Names() []string { return []string{AWS, Azure, GCP, OCI, IBM, Anthropic, OpenAI} }

// Options say whom the stand-ins trust, and where they listen.
type Options struct {
	// Assertions is the issuer of assertions.
	Assertions sandbox.World
	// Cluster is the issuer of the cluster that is linked to IBM Cloud and known to
	// AWS.
	Cluster sandbox.World
	// Workload is the `sub` of the cluster's workload that is let in.
	Workload string
	// Subject is the `sub` of assertions that are let in, the same for all; a * at its
	// end stands for anything, save with Azure, which compares whole. Empty: that of
	// the sample policy's targets, each with its own.
	Subject string
	// OCISecret is that of the identity domain's application.
	OCISecret exchange.Secret

	// Host is a loopback host; empty: 127.0.0.1.
	Host string
	// First is the port that the first stand-in prefers; zero: any. The others follow.
	First int
	// Ports are those of an earlier start, by name. They win over First.
	Ports map[string]int
}

// Clouds are the stand-ins.
type Clouds struct {
	options   Options
	authority []byte
	listeners map[string]net.Listener
	servers   map[string]*http.Server
}

// Open binds the ports and sets everything up; Serve lets callers in. A port that is
// taken is replaced by a free one.
func Open(ctx context.Context, o Options) (*Clouds, error) {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if !exchange.LoopbackHost(o.Host) {
		return nil, fmt.Errorf("the stand-ins listen on this machine only: write 127.0.0.1 instead of %q (S35)", o.Host)
	}
	authority, leaf, err := certify(o.Assertions.Now())
	if err != nil {
		return nil, err
	}
	c := &Clouds{options: o, authority: authority, listeners: map[string]net.Listener{}, servers: map[string]*http.Server{}}
	if err := c.bind(ctx); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	for _, name := range Names() {
		handler, err := c.handler(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("setting the stand-in of %s up: %w", name, err), c.Close(ctx))
		}
		c.servers[name] = &http.Server{
			Handler: devworld.Guard(handler), TLSConfig: &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12},
			ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
			ErrorLog: log.New(io.Discard, "", 0), // clients that do not trust the certificate yet
		}
	}
	return c, nil
}

func (c *Clouds) bind(ctx context.Context) error {
	var config net.ListenConfig
	for i, name := range Names() {
		wishes := []int{0}
		if c.options.First > 0 {
			wishes = slices.Insert(wishes, 0, c.options.First+i)
		}
		if port, known := c.options.Ports[name]; known {
			wishes = slices.Insert(wishes, 0, port)
		}
		for _, port := range wishes {
			l, err := config.Listen(ctx, "tcp", net.JoinHostPort(c.options.Host, strconv.Itoa(port)))
			if err == nil {
				c.listeners[name] = l
				break
			}
			if port == 0 {
				return fmt.Errorf("listening as %s: %w", name, err)
			}
		}
	}
	return nil
}

// Authority is the PEM text of the authority that the certificates are of.
func (c *Clouds) Authority() []byte { return c.authority }

// Endpoint is the https URL of a stand-in, without path.
func (c *Clouds) Endpoint(name string) string {
	return "https://" + c.listeners[name].Addr().String()
}

// Endpoints are all of them, by name.
func (c *Clouds) Endpoints() map[string]string {
	all := map[string]string{}
	for _, name := range Names() {
		all[name] = c.Endpoint(name)
	}
	return all
}

// Ports are to be kept for the next start.
func (c *Clouds) Ports() map[string]int {
	ports := map[string]int{}
	for name, l := range c.listeners {
		if at, ok := l.Addr().(*net.TCPAddr); ok {
			ports[name] = at.Port
		}
	}
	return ports
}

// Serve lets callers in, until Close.
func (c *Clouds) Serve() error {
	failed := make(chan error, len(c.servers))
	for name, s := range c.servers {
		go func() { failed <- s.ServeTLS(c.listeners[name], "", "") }()
	}
	var errs []error
	for range c.servers {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Close ends everything at once: nothing here is anybody's.
func (c *Clouds) Close(context.Context) error {
	var errs []error
	for _, s := range c.servers {
		errs = append(errs, s.Close())
	}
	for _, l := range c.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
