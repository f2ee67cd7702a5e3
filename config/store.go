package config

import (
	"net/url"
	"regexp"
	"strings"
)

// ResolveStore is Resolve for store and data_dir alone, and leaves f as it is: who asks what is remembered needs no account's
// secret. The store is judged with what its references lead to.
func (f *File) ResolveStore(env func(string) (string, bool), read func(string) ([]byte, error)) (store Store, dataDir string, err error) {
	if f.source == nil {
		return f.Store, f.DataDir, nil
	}
	if f.source.failed != nil {
		return Store{}, "", f.source.failed
	}
	g, err := build(f.source, &fetcher{env: env, read: read, cache: map[segment]fetched{}, include: func(path string) bool {
		return path == "data_dir" || strings.HasPrefix(path, "store.")
	}}, false)
	if err != nil {
		return Store{}, "", err
	}
	return g.Store, g.DataDir, nil
}

var (
	schemaName  = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	keywordForm = regexp.MustCompile(`^\s*[a-z_]+\s*=`)
)

// checkStore judges the keys of a store against its type. A connection string is a secret: it is judged by its form, and not shown.
func (d *decoder) checkStore(s *Store) {
	if p, set := d.positions[&s.Type]; set && p.state != valid {
		return
	}
	if s.Type != "postgres" {
		for _, ptr := range []any{&s.DSN, &s.Schema} {
			if p, ok := d.checkable(ptr); ok {
				d.report(p, "is a key of store: {type: postgres}", "remove it, or say type: postgres")
			}
		}
		return
	}
	if p, ok := d.checkable(&s.Type); ok && !d.isSet(&s.DSN) {
		d.report(p, "postgres needs dsn", `add dsn: ${env:NAME}; it is postgres://user:password@host:5432/database?sslmode=verify-full`)
	}
	if p, ok := d.checkable(&s.DSN); ok && !connectionString(s.DSN.Reveal()) {
		d.report(p, "is no connection string", "want postgres://user:password@host:5432/database?sslmode=verify-full; in a password @ is %40, : is %3A, / is %2F, # is %23, ? is %3F")
	}
	if p, ok := d.checkable(&s.Schema); ok && (!schemaName.MatchString(s.Schema) || strings.HasPrefix(s.Schema, "pg_")) {
		d.report(p, d.show(p, s.Schema)+" is no name for a schema", "want lower-case letters, digits and _")
	}
}

func connectionString(s string) bool {
	if !strings.HasPrefix(s, "postgres://") && !strings.HasPrefix(s, "postgresql://") {
		return keywordForm.MatchString(s)
	}
	u, err := url.Parse(s)
	return err == nil && u.Fragment == "" && !strings.Contains(u.Path, "@")
}
