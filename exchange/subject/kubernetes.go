package subject

import (
	"errors"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
)

// kubernetes reads a service-account token as the API server makes it
// (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims).
// Tokens of the old kind, kept in Secrets, have no `exp` and were refused before.
func (t *trust) kubernetes(c claims, s *exchange.Subject) error {
	private, err := object(c.all, "kubernetes.io")
	if err != nil {
		return err
	}
	if private == nil {
		return refused("the token is not a service-account token: it has no kubernetes.io claim")
	}
	namespace, err := text(private, "namespace")
	if err != nil {
		return err
	}
	account, accountUID, err := named(private, "serviceaccount")
	if err != nil {
		return err
	}
	pod, podUID, err := named(private, "pod")
	if err != nil {
		return err
	}
	node, _, err := named(private, "node")
	if err != nil {
		return err
	}
	if namespace == "" || account == "" || c.subject != serviceAccountUser(namespace, account) {
		return malformed(errors.New("its sub and its kubernetes.io claim name different service accounts"))
	}
	s.Name = exchange.CanonicalName("k8s", t.Name, namespace, account)
	s.Attributes = exchange.Attributes{"sub": {c.subject}}
	for _, a := range [...]struct{ name, value string }{
		{"namespace", namespace}, {"service_account", account}, {"uid", accountUID},
		{"pod", pod}, {"pod_uid", podUID}, {"node", node},
	} {
		if a.value != "" {
			s.Attributes[a.name] = []string{a.value}
		}
	}
	if t.Clientless {
		s.Clientless = exchange.ClientlessYes
	}
	return nil
}

// serviceAccountUser is the user name of a service account, in `sub` and in
// TokenReview.
func serviceAccountUser(namespace, account string) string {
	return "system:serviceaccount:" + namespace + ":" + account
}

// named reads {"name": …, "uid": …}; absent is empty.
func named(members map[string]any, member string) (name, uid string, err error) {
	o, err := object(members, member)
	if err != nil || o == nil {
		return "", "", err
	}
	if name, err = text(o, "name"); err != nil {
		return "", "", err
	}
	uid, err = text(o, "uid")
	return name, uid, err
}

func object(members map[string]any, member string) (map[string]any, error) {
	value, present := members[member]
	if !present {
		return nil, nil
	}
	o, ok := value.(map[string]any)
	if !ok {
		return nil, malformed(fmt.Errorf("%q must be an object", member))
	}
	return o, nil
}
