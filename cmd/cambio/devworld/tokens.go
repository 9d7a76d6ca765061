package devworld

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
)

// Lifetime of every token of the world: what a kubelet asks for a projected
// token.
const Lifetime = time.Hour

// Audience is whom tokens are for unless another is asked.
const Audience = "cambio"

// commandLine is the authorized party of users' tokens: the company's own command
// line tool.
const commandLine = "cli"

// staff is the company, with each user's groups. Others may be invented freely;
// they belong to no group but those that are asked for.
var staff = map[string][]string{
	"alice": {"engineering"},
	"bob":   {"finance"},
	"sam":   {"security"},
	"olga":  {"platform-oncall"},
}

// Auditor and Operator are the users for whom dev keeps tokens in the data folder.
const (
	Auditor  = "sam"
	Operator = "olga"
)

// label is the form of a name in a cluster (RFC 1123).
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

type clusterClaims struct {
	Audience   []string          `json:"aud"`
	Expires    int64             `json:"exp"`
	Issued     int64             `json:"iat"`
	Issuer     string            `json:"iss"`
	ID         string            `json:"jti"`
	Kubernetes kubernetesBinding `json:"kubernetes.io"`
	NotBefore  int64             `json:"nbf"`
	Subject    string            `json:"sub"`
}

type kubernetesBinding struct {
	Namespace      string      `json:"namespace"`
	Node           clusterName `json:"node"`
	Pod            clusterName `json:"pod"`
	ServiceAccount clusterName `json:"serviceaccount"`
}

type clusterName struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// ServiceAccount mints what a pod of the service account finds mounted: a
// projected token, bound to pod and node.
func (w *World) ServiceAccount(now time.Time, namespace, name, audience string) (exchange.Secret, error) {
	for what, value := range map[string]string{"namespace": namespace, "service account": name} {
		if !label.MatchString(value) {
			return exchange.Secret{}, fmt.Errorf("%q is no name of a %s: lower-case letters, digits and -, at most 63", value, what)
		}
	}
	pod := name[:min(len(name), 40)] + "-0"
	return w.cluster.sign(clusterClaims{
		Audience: []string{audience}, Issued: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(Lifetime).Unix(),
		Issuer: ClusterIssuer, ID: randomUUID(), Subject: "system:serviceaccount:" + namespace + ":" + name,
		Kubernetes: kubernetesBinding{
			Namespace:      namespace,
			Node:           named("node", "dev-node"),
			Pod:            clusterName{Name: pod, UID: named("pod", namespace+"/"+pod).UID},
			ServiceAccount: clusterName{Name: name, UID: named("serviceaccount", namespace+"/"+name).UID},
		},
	})
}

type corpClaims struct {
	Issuer            string     `json:"iss"`
	Subject           string     `json:"sub"`
	Audience          []string   `json:"aud"`
	Expires           int64      `json:"exp"`
	Issued            int64      `json:"iat"`
	ID                string     `json:"jti"`
	AuthorizedParty   string     `json:"azp"`
	PreferredUsername string     `json:"preferred_username"`
	Email             string     `json:"email"`
	EmailVerified     bool       `json:"email_verified"`
	Groups            []string   `json:"groups"`
	RealmAccess       realmRoles `json:"realm_access"`
}

type realmRoles struct {
	Roles []string `json:"roles"`
}

// User mints the access token that the company's command line tool holds for a
// user. Without groups it carries those that the user has in the company.
func (w *World) User(now time.Time, user string, groups []string, audience string) (exchange.Secret, error) {
	if user == "" || len(user) > 128 || !printable(user) {
		return exchange.Secret{}, fmt.Errorf("%q is no name of a user: printable characters, at most 128 bytes", user)
	}
	if groups == nil {
		groups = staff[user]
	}
	if groups == nil {
		groups = []string{}
	}
	return w.corp.sign(corpClaims{
		Issuer: CorpIssuer, Subject: user, Audience: []string{audience}, Issued: now.Unix(), Expires: now.Add(Lifetime).Unix(),
		ID: randomUUID(), AuthorizedParty: commandLine, PreferredUsername: user,
		Email: user + "@corp.cambio-dev.test", EmailVerified: true, Groups: groups, RealmAccess: realmRoles{Roles: groups},
	})
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// named gives an object of the cluster the same uid each time.
func named(kind, name string) clusterName {
	sum := sha256.Sum256([]byte(kind + " " + name))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	return clusterName{Name: name, UID: uuid(sum[:16])}
}

func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return uuid(b[:])
}

func uuid(b []byte) string {
	text := hex.EncodeToString(b)
	return text[0:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:32]
}
