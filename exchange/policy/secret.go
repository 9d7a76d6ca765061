package policy

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// SecretName is the name in a value of the form ${secret:NAME}; false: the value
// is not of that form.
func SecretName(value string) (string, bool) {
	name, ok := strings.CutPrefix(value, "${secret:")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, "}")
	return name, ok && validName(name, secretNameBytes)
}

const secretNameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// validName reports whether a name has 1 to 64 characters, all of them allowed.
func validName(name, allowed string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, allowed) == "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune(allowed, r)
	})
}

// checkSecrets finds every ${…} below n. Where references may stand, only whole
// values naming a listed secret pass (S20); elsewhere none does.
func (d *decoder) checkSecrets(n ast.Node, names []string, may bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			d.checkSecrets(v, names, may)
		}
	case *ast.MappingValueNode:
		d.checkSecrets(n.Key, nil, false)
		d.checkSecrets(n.Value, names, may)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			d.checkSecrets(v, names, may)
		}
	case *ast.LiteralNode:
		d.checkSecret(n, n.Value.Value, names, may)
	case *ast.StringNode:
		d.checkSecret(n, n.Value, names, may)
	}
}

func (d *decoder) checkSecret(n ast.Node, value string, names []string, may bool) {
	if !strings.Contains(value, "${") {
		return
	}
	name, ok := SecretName(value)
	switch {
	case !may:
		d.fault(n, "${…} has a meaning only in a target's settings, as a whole value")
	case !ok:
		d.fault(n, "a secret stands as a whole value, %q, and nothing beside it", "${secret:NAME}")
	case !slices.Contains(names, name):
		d.fault(n, "the server's configuration lists no secret %q for policy to use: %s", name, didYouMean(name, names))
	}
}
