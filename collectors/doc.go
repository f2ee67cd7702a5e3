package collectors

import (
	"fmt"
	"io"
	"strings"
)

// WriteDoc writes docs/kinds.md: every kind, and every Describe operation that has none, with the reason. It ignores
// write errors: the test that compares the document finds them.
func WriteDoc(w io.Writer) {
	leftOut := 0
	for i := range Services {
		leftOut += len(Services[i].LeftOut)
	}
	fmt.Fprintf(w, `# Kinds

Generated from `+"`collectors/kinds_*.go` and `collectors/left_out.go` by `go generate ./collectors`"+`; do not edit.

%d kinds, and %d operations that list or describe without a kind. A kind that has a parent is listed once for each
resource of the parent. An operation after a comma returns the tags. A record's id is one member, or several joined by
"/". In a member with (%%2F), "/" is written %%2F and %% is written %%25, because another member may have a "/", too.
Calls/s is the refill rate of AWS's token bucket for one account and region; the collector uses half of it. Kinds of IAM
are global: they are listed once an account, through the partition's default region, as region `+"`global`"+`. An
asterisk marks a bucket that all operations of the service share.
A change of a volatile member is not a change in a resource's history. A sensitive member becomes a keyed digest unless
`+"`sensitive` is set to another value. `collector schema --kind KIND`"+` prints the JSON Schema of a kind's data.

| kind | operation and IAM action | id | parent | calls/s | volatile | sensitive |
|---|---|---|---|---|---|---|
`, len(Kinds), leftOut)
	for i := range Kinds {
		k := &Kinds[i]
		id := k.ID
		if id == "" {
			id = "*" + k.ConstID + "*"
		}
		for _, member := range k.Escaped {
			id = strings.Replace(id, member, member+" (%2F)", 1)
		}
		refill, _ := k.Budget()
		shared := ""
		if k.Service().Shared {
			shared = " \\*"
		}
		tags := ""
		if k.TagsBy != nil {
			tags = ", " + k.TagsBy.Op
		}
		fmt.Fprintf(w, "| `%s` | [%s](%s)%s | %s | %s | %v%s | %s | %s |\n", k.Name, k.Action(), k.DocURL(), tags, id,
			codeSpan(k.Parent), refill, shared, strings.Join(k.Volatile, " "), strings.Join(k.Sensitive, " "))
	}
	fmt.Fprint(w, "\n## Left out\n\n| operation | why |\n|---|---|\n")
	for i := range Services {
		for _, o := range Services[i].LeftOut {
			fmt.Fprintf(w, "| %s:%s | %s |\n", Services[i].Name, o.Operation, o.Reason)
		}
	}
}

func codeSpan(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
