package config

import (
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/cambio-sts/cambio/exchange"
)

// TargetSecret fetches a secret for a target to send to a host, written as host or
// host:port, and to no other (S20). An entry without a port is for 443 alone. It is
// read anew each time, so that a file that changes is a secret that rotates.
func (c *Config) TargetSecret(name, host string) (exchange.Secret, error) {
	source, ok := c.Secrets[name]
	if !ok {
		return exchange.Secret{}, fmt.Errorf("cambio.yaml lists no secrets.%s", name)
	}
	plain := host
	if h, port, err := net.SplitHostPort(host); err == nil && port == "443" {
		plain = h
	}
	if !slices.Contains(source.Hosts, host) && !slices.Contains(source.Hosts, plain) {
		return exchange.Secret{}, fmt.Errorf("secrets.%s is not for %s: list it in secrets.%s.hosts", name, host, name)
	}
	secret, err := source.read(map[string]string{source.Env: os.Getenv(source.Env)})
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("secrets.%s: %w", name, err)
	}
	return secret, nil
}
