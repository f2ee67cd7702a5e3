package config

import (
	"net/url"
	"regexp"
	"strings"
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
	fetch := &fetcher{env: env, read: read, cache: map[segment]fetched{}, include: include}
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
	if p, set := d.positions[&s.Type]; set && p.state != valid {
		return
	}
	if s.Type != "postgres" {
		for _, ptr := range []any{&s.DSN, &s.Schema} {
			if p, ok := d.checkable(ptr); ok {
				d.report(p, "is a key of store: {type: postgres}", "remove it, or set type: postgres")
			}
		}
		return
	}
	if p, ok := d.checkable(&s.Type); ok && !d.isSet(&s.DSN) {
		d.report(p, "postgres needs dsn",
			`add dsn: ${env:NAME}; its value is postgres://user:password@host:5432/database?sslmode=verify-full`)
	}
	if p, ok := d.checkable(&s.DSN); ok && !connectionString(s.DSN.Reveal()) {
		d.report(p,
			"is not a connection string",
			"write postgres://user:password@host:5432/database?sslmode=verify-full; "+
				"in a password write @ as %40, : as %3A, / as %2F, # as %23, ? as %3F")
	}
	if p, ok := d.checkable(&s.Schema); ok && (!schemaName.MatchString(s.Schema) || strings.HasPrefix(s.Schema, "pg_")) {
		d.report(p, d.show(p, s.Schema)+" is not a schema name", "write lower-case letters, digits and _")
	}
}

func connectionString(s string) bool {
	if !strings.HasPrefix(s, "postgres://") && !strings.HasPrefix(s, "postgresql://") {
		return keywordForm.MatchString(s)
	}
	u, err := url.Parse(s)
	return err == nil && u.Fragment == "" && !strings.Contains(u.Path, "@")
}
