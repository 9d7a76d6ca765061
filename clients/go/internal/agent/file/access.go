package file

import (
	"fmt"
	"os/user"
	"strconv"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/disk"
)

// newAccess is who may read the files of an entry. Names of users are looked up now.
func newAccess(e *Entry) (disk.Access, error) {
	a := disk.Own(e.Mode.perm())
	var err error
	if a.UID, err = number(e.Owner, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	}); err != nil {
		return a, fmt.Errorf("owner: %w", err)
	}
	if a.GID, err = number(e.Group, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	}); err != nil {
		return a, fmt.Errorf("group: %w", err)
	}
	return a, nil
}

// number is that of a user or group, -1 for none.
func number(name string, lookup func(string) (string, error)) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	text, err := lookup(name)
	if err != nil {
		return -1, err
	}
	return strconv.Atoi(text)
}
