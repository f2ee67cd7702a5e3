package config

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/aws-collector/collector/config/internal/yamldoc"
)

// ResolveStore is Resolve for store and data_dir alone, and does not change f: commands that read the inventory need no
// account's secret. The store is checked with its references resolved.
func (f *File) ResolveStore(
	env func(string) (string, bool), read func(string) ([]byte, error),
) (store Store, dataDir string, err error) {
	if f.source == nil {
		return f.Store, f.DataDir, nil
	}
	if f.source.failed != nil {
		return Store{}, "", f.source.failed
	}
	include := func(path string) bool { return path == "data_dir" || strings.HasPrefix(path, "store.") }
	fetch := yamldoc.NewFetcher(env, read, include)
	g, err := build(f.source, fetch, false)
	if err != nil {
		return Store{}, "", err
	}
	return g.Store, g.DataDir, nil
}

var (
	schemaName  = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	keywordForm = regexp.MustCompile(`^\s*[a-z_]+\s*=`)
)

// checkStore checks the keys of a store against its type. A connection string is a secret, so only its form is checked,
// and messages do not show it.
func (d *decoder) checkStore(s *Store) {
	if p, set := d.Position(&s.Type); set && p.State != yamldoc.Valid {
		return
	}
	if s.Type != "postgres" {
		for _, ptr := range []any{&s.DSN, &s.Schema} {
			if p, ok := d.Checkable(ptr); ok {
				d.Report(p, "is a key of store: {type: postgres}", "remove it, or set type: postgres")
			}
		}
		return
	}
	if p, ok := d.Checkable(&s.Type); ok && !d.IsSet(&s.DSN) {
		d.Report(p, "postgres needs dsn",
			`add dsn: ${env:NAME}; its value is postgres://user:password@host:5432/database?sslmode=verify-full`)
	}
	if p, ok := d.Checkable(&s.DSN); ok && !connectionString(s.DSN.Reveal()) {
		d.Report(p,
			"is not a connection string",
			"write postgres://user:password@host:5432/database?sslmode=verify-full; "+
				"in a password write @ as %40, : as %3A, / as %2F, # as %23, ? as %3F")
	}
	if p, ok := d.Checkable(&s.Schema); ok && (!schemaName.MatchString(s.Schema) || strings.HasPrefix(s.Schema, "pg_")) {
		d.Report(p, d.Show(p, s.Schema)+" is not a schema name", "write lower-case letters, digits and _")
	}
}

func connectionString(s string) bool {
	if !strings.HasPrefix(s, "postgres://") && !strings.HasPrefix(s, "postgresql://") {
		return keywordForm.MatchString(s)
	}
	u, err := url.Parse(s)
	return err == nil && u.Fragment == "" && !strings.Contains(u.Path, "@")
}
