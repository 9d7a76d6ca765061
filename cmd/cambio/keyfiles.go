package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	"github.com/cambio-sts/cambio/exchange/outbound"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/subject"
)

// checkKeyFiles reads the key files that a policy names, its trusts' and its
// clients', as a server reads them. A file by an absolute path that is not here
// may be at its place on the server's machine.
func (l *loaded) checkKeyFiles(ctx context.Context) policy.Faults {
	var faults policy.Faults
	check := func(trusts []exchange.Trust, forClients bool, field string) {
		for _, t := range trusts {
			if t.Keys.File == "" {
				continue
			}
			if _, err := os.Stat(t.Keys.File); errors.Is(err, fs.ErrNotExist) && !l.beside(t.Keys.File) {
				continue
			}
			t.Keys.CAFile, t.Review = "", nil // nothing is fetched, and no cluster is asked
			if s := t.Session; s != nil {
				t.Session = &exchange.SessionTrust{Cookies: s.Cookies, Presenters: s.Presenters} // nor an application
			}
			if err := readKeys(ctx, t, forClients); err != nil {
				faults = append(faults, policy.Fault{Message: fmt.Sprintf("%s: %v", fmt.Sprintf(field, t.Name), err)})
			}
		}
	}
	check(l.revision.Trusts(), false, "trust %q: keys.file")
	check(client.Trusts(l.revision.Clients(), l.issuer), true, "client %q: private_key_jwt.keys.file")
	return faults
}

// beside reports whether a file is in the policy folder, or below it.
func (l *loaded) beside(file string) bool {
	dir, err := filepath.Abs(l.dir)
	if err != nil {
		return false
	}
	file, err = filepath.Abs(file)
	if err != nil {
		return false
	}
	inside, err := filepath.Rel(dir, file)
	return err == nil && filepath.IsLocal(inside)
}

// readKeys reads the keys of one trust by a verifier of its own.
func readKeys(ctx context.Context, t exchange.Trust, forClients bool) error {
	v := subject.New(subject.Options{
		Client:     func(string) (*http.Client, error) { return outbound.Client(outbound.Options{}) },
		Now:        time.Now,
		ForClients: forClients,
	})
	if err := v.Load([]exchange.Trust{t}); err != nil {
		return err
	}
	err := v.Refresh(ctx)
	var known *exchange.Error
	if errors.As(err, &known) && errors.Unwrap(known.Err) != nil {
		return errors.Unwrap(known.Err) // without the name of the trust, which the fault has
	}
	return err
}
