package configfile

import (
	"os"
	"path/filepath"
	"testing"
)

// A saved query is checked like flags, and each mistake is at its line.
func TestQueriesAreChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(`accounts: [{extra_tags: {a: b}}]
queries:
  fine: {kind: "instances,vol*", where: state_since older than 30d, columns: "id,tags.team", sort: -id, limit: 5}
  bad:
    kind: instnace
    where: state=running andd
    columns: State
    limit: many
    at: yesterday
`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := (&Source{Path: path, Getenv: func(string) string { return "" }}).Load(t.Context())
	want := `c.yaml:5: queries.bad.kind: unknown kind "instnace"; did you mean ec2_instance? ` +
		`Run "collector kinds" to list all kinds
c.yaml:6: queries.bad.where: at character 15 of "state=running andd": expected and, or, or the end
c.yaml:7: queries.bad.columns: unknown field State: did you mean data.State?
c.yaml:8: queries.bad.limit: "many" is not a number from 0
c.yaml:9: queries.bad.at: `
	if err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
