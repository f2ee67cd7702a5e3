package collectors

import (
	"fmt"
	"io"
	"strings"
)

// WriteDoc writes docs/kinds.md: every kind, and every Describe operation that has none, with the reason. It ignores
// write errors: the test that compares the document finds them.
func WriteDoc(w io.Writer) {
	fmt.Fprintf(w, `# Kinds

Generated from `+"`collectors/kinds.go` and `collectors/left_out.go` by `go generate ./collectors`"+`; do not edit.

%d kinds, and %d Describe operations without a kind. A kind that has a parent is listed once for each resource of the
parent. A record's id is one member, or several joined by "/". Calls/s is the refill rate of AWS's token bucket for one
account and region; the collector uses half of it. A change of a volatile member is not a change in a resource's
history. A sensitive member becomes a keyed digest unless `+"`sensitive`"+` is set to another value.
`+"`collector schema --kind KIND`"+` prints the JSON Schema of a kind's data.

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
		fmt.Fprintf(
			w,
			"| `%s` | [%s](%s) | %s | %s | %v | %s | %s |\n",
			k.Name,
			k.Action(),
			k.DocURL(),
			id,
			codeSpan(k.Parent),
			refill,
			strings.Join(k.Volatile, " "),
			strings.Join(k.Sensitive, " "),
		)
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
