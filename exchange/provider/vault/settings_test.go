package vault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/vault"
)

func TestSettingsAreChecked(t *testing.T) {
	jwt := vault.Auth{Role: "app", Audience: "vault"}
	good := vault.Settings{Address: "https://vault.example:8200", Auth: jwt, Path: "secret/data/openai", MayOutlive: true}
	lease := good
	lease.Kind, lease.Path, lease.MayOutlive = vault.KindDynamic, "database/creds/app", false
	for _, s := range []vault.Settings{good, lease} {
		if faults := s.Validate(); len(faults) > 0 {
			t.Errorf("%v", faults)
		}
	}
	for name, c := range map[string]struct {
		base   vault.Settings
		change func(*vault.Settings)
		want   []string
	}{
		"empty":              {vault.Settings{}, func(*vault.Settings) {}, []string{"address: ", "auth.role: ", "auth.audience: ", "path: ", "path: ", "may_outlive: "}},
		"plain":              {good, func(s *vault.Settings) { s.Address = "http://vault.example:8200" }, []string{"address: "}},
		"a slash":            {good, func(s *vault.Settings) { s.Address += "/" }, []string{"address: "}},
		"a user":             {good, func(s *vault.Settings) { s.Address = "https://root@vault.example" }, []string{"address: "}},
		"plain upper case":   {good, func(s *vault.Settings) { s.Address = "http://LOCALHOST:8200" }, []string{"address: "}},
		"up":                 {lease, func(s *vault.Settings) { s.Path = "database/../sys/seal" }, []string{"path: "}},
		"a query":            {lease, func(s *vault.Settings) { s.Path = "database/creds/app?x=y" }, []string{"path: "}},
		"escaped":            {lease, func(s *vault.Settings) { s.Path = "database/creds/%2e%2e" }, []string{"path: "}},
		"sys":                {lease, func(s *vault.Settings) { s.Path = "sys/raw/x" }, []string{"path: "}},
		"auth":               {lease, func(s *vault.Settings) { s.Path = "auth/token/create" }, []string{"path: "}},
		"with v1":            {lease, func(s *vault.Settings) { s.Path = "v1/database/creds/app" }, []string{"path: "}},
		"long":               {lease, func(s *vault.Settings) { s.Path = strings.Repeat("a", 600) }, []string{"path: "}},
		"a namespace":        {lease, func(s *vault.Settings) { s.Namespace = "team/" }, []string{"namespace: "}},
		"no data":            {good, func(s *vault.Settings) { s.Path = "secret/openai" }, []string{"path: "}},
		"version 3":          {good, func(s *vault.Settings) { s.Version = 3 }, []string{"version: "}},
		"no consent":         {good, func(s *vault.Settings) { s.MayOutlive = false }, []string{"may_outlive: "}},
		"kv with parameters": {good, func(s *vault.Settings) { s.Parameters = map[string]string{"a": "b"} }, []string{"kind: "}},
		"refresh":            {good, func(s *vault.Settings) { s.Refresh = time.Millisecond }, []string{"refresh: "}},
		"a line in a field":  {good, func(s *vault.Settings) { s.Field = "a\nb" }, []string{"field: "}},
		"wrap a field":       {good, func(s *vault.Settings) { s.Field, s.Wrap = "key", time.Minute }, []string{"wrap: "}},
		"wrap too short":     {good, func(s *vault.Settings) { s.Wrap = time.Second }, []string{"wrap: "}},
		"kind":               {good, func(s *vault.Settings) { s.Kind = "transit" }, []string{"kind: "}},
		"lease with refresh": {lease, func(s *vault.Settings) { s.Refresh = time.Minute }, []string{"kind: "}},
		"method":             {lease, func(s *vault.Settings) { s.Method = "delete" }, []string{"method: "}},
		"a parameter":        {lease, func(s *vault.Settings) { s.Parameters = map[string]string{"a b": "c"} }, []string{"parameters: "}},
		"a secret parameter": {lease, func(s *vault.Settings) { s.Parameters = map[string]string{"a": "${secret:x}"} }, []string{"parameters: "}},
		"ttl":                {lease, func(s *vault.Settings) { s.TTL = time.Second }, []string{"ttl: "}},
		"ttl twice":          {lease, func(s *vault.Settings) { s.TTLParameter, s.Parameters = "ttl", map[string]string{"ttl": "1h"} }, []string{"ttl_parameter: "}},
		"ttl parameter":      {lease, func(s *vault.Settings) { s.TTLParameter = "t t" }, []string{"ttl_parameter: "}},
		"auth method":        {lease, func(s *vault.Settings) { s.Auth.Method = "userpass" }, []string{"auth.method: "}},
		"mount":              {lease, func(s *vault.Settings) { s.Auth.Mount = "../x" }, []string{"auth.mount: "}},
		"subject":            {lease, func(s *vault.Settings) { s.Auth.Subject = []string{"No Name"} }, []string{"auth.subject[0]: "}},
		"role id with jwt":   {lease, func(s *vault.Settings) { s.Auth.RoleID = "x" }, []string{"auth.role_id: "}},
		"audience elsewhere": {lease, func(s *vault.Settings) { s.Auth.Method = vault.MethodKubernetes }, []string{"auth.audience: "}},
		"approle":            {lease, func(s *vault.Settings) { s.Auth = vault.Auth{Method: vault.MethodAppRole} }, []string{"auth.role_id: "}},
		"approle in clear":   {lease, func(s *vault.Settings) { s.Auth = vault.Auth{Method: vault.MethodAppRole, RoleID: "x", SecretID: "y"} }, []string{"auth.secret_id: "}},
		"approle with a role": {lease, func(s *vault.Settings) {
			s.Auth = vault.Auth{Method: vault.MethodAppRole, RoleID: "x", SecretID: "${secret:y}", Role: "z"}
		}, []string{"auth.role: "}},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.base
			c.change(&s)
			faults := s.Validate()
			if len(faults) != len(c.want) {
				t.Fatalf("%v", faults)
			}
			for i, fault := range faults {
				if !strings.HasPrefix(fault.Error(), c.want[i]) {
					t.Errorf("%v, want %s", fault, c.want[i])
				}
			}
		})
	}
	for _, address := range []string{"http://127.0.0.1:8200", "http://localhost:8100", "http://[::1]:8200", "https://vault.example/behind/a/path"} {
		s := good
		s.Address = address
		if faults := s.Validate(); len(faults) > 0 {
			t.Errorf("%s: %v", address, faults)
		}
	}
}

// TestFacts: what is issued goes by field and wrap.
func TestFacts(t *testing.T) {
	s := vault.Settings{Kind: vault.KindDynamic, TTL: time.Hour}
	if f := s.Facts(); f.Types[0] != vault.TokenTypeLease || f.Once || f.MayOutlive || f.MaxTTL != time.Hour || f.Method != "dynamic_jwt" {
		t.Errorf("%+v", f)
	}
	s.Field = "password"
	if f := s.Facts(); f.Types[0] != vault.TokenTypeSecret {
		t.Errorf("%+v", f)
	}
	s.Field, s.Wrap = "", time.Minute
	if f := s.Facts(); f.Types[0] != vault.TokenTypeWrapping || !f.Once {
		t.Errorf("%+v", f)
	}
}
