package collectors

import (
	"fmt"
	"io"
	"strings"
)

// WriteDoc writes docs/kinds.md: every kind, and every Describe operation that is none with the reason. An error of w
// shows in the comparison that its test makes.
func WriteDoc(w io.Writer) {
	fmt.Fprintf(w, `# Kinds

Generated from `+"`collectors/kinds.go` and `collectors/left_out.go` by `go generate ./collectors`"+`; do not edit.

%d kinds, and %d Describe operations that are none. A kind that has a parent is asked for once for each resource of it. A record's id
is one member, or several joined by "/". Calls a second is what AWS refills for one account and region; the collector
keeps to half of it. Members that are volatile make no change in a resource's history; members that are sensitive
become a keyed digest unless `+"`sensitive`"+` says otherwise. `+"`collector schema --kind KIND`"+` prints the JSON Schema of a kind's data.

| kind | operation and IAM action | id | parent | calls/s | volatile | sensitive |
|---|---|---|---|---|---|---|
`, len(Kinds), len(LeftOut))
	for i := range Kinds {
		k := &Kinds[i]
		id := k.ID
		if id == "" {
			id = "*" + k.ConstID + "*"
		}
		refill, _ := k.Budget()
		fmt.Fprintf(w, "| `%s` | [%s](%s) | %s | %s | %v | %s | %s |\n", k.Name, k.Action(), k.DocURL(), id, codeSpan(k.Parent), refill,
			strings.Join(k.Volatile, " "), strings.Join(k.Sensitive, " "))
	}
	fmt.Fprint(w, "\n## Left out\n\n| operation | why |\n|---|---|\n")
	for _, o := range LeftOut {
		fmt.Fprintf(w, "| %s | %s |\n", o.Operation, o.Reason)
	}
}

func codeSpan(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
