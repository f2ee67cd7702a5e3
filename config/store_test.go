package config

import (
	"os"
	"strings"
	"testing"

	"github.com/aws-collector/collector/secret"
)

const plantedDSN = "postgres://collector:planted%2Fpassword@db.example.com:5432/inventory?sslmode=verify-full"

// Resolving the store needs the references of the store, and no account's secret.
func TestResolveStore(t *testing.T) {
	const text = `
data_dir: ${env:DIR}
accounts: [{ak_id: "${env:NOT_SET}", ak_secret: "${file:/not/there}"}]
store: {type: postgres, dsn: "${env:DSN}", schema: "${env:SCHEMA}"}
`
	f, err := Parse([]byte(text), "c.yaml", testRegistry())
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"DIR": "/data", "DSN": plantedDSN, "SCHEMA": "mine"}
	env := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	s, dir, err := f.ResolveStore(env, os.ReadFile)
	if err != nil || s.DSN.Reveal() != plantedDSN || s.Schema != "mine" || dir != "/data" {
		t.Errorf("%+v %s %v", s, dir, err)
	}
	if f.Store.DSN.Reveal() == plantedDSN {
		t.Error("the file itself was resolved")
	}
	delete(vars, "DSN")
	_, _, err = f.ResolveStore(env, os.ReadFile)
	if err == nil || !strings.Contains(err.Error(), "${env:DSN}: the variable is not set, or is empty") ||
		strings.Contains(err.Error(), "NOT_SET") {
		t.Errorf("without the variable: %v", err)
	}
	vars["DSN"] = "db.example.com planted"
	if _, _, err := f.ResolveStore(env, os.ReadFile); err == nil || strings.Contains(err.Error(), "planted") {
		t.Errorf("not a connection string: %v", err)
	}
	if err := f.Resolve(env, os.ReadFile); err == nil {
		t.Error("Resolve finds what the accounts need")
	}
	if _, _, err := f.ResolveStore(env, os.ReadFile); err == nil {
		t.Error("a rejected file has a store")
	}
}

func TestStoreEqual(t *testing.T) {
	a, b := Store{Type: "postgres", DSN: secret.New("x=1")}, Store{Type: "postgres", DSN: secret.New("x=1")}
	if !a.Equal(b) {
		t.Error("equal stores differ")
	}
	if b.DSN = secret.New("x=2"); a.Equal(b) {
		t.Error("different stores are equal")
	}
}
