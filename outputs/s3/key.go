package s3

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// keyFields are the fields that a key may contain.
var keyFields = []string{"account", "account_id", "partition", "region", "kind", "date", "run"}

// nullPartition replaces an empty value in a key: Hive's name for NULL in a partition.
const nullPartition = "__HIVE_DEFAULT_PARTITION__"

// A keyTemplate is a parsed key with fields in braces.
type keyTemplate []keyPart

type keyPart struct{ text, field string }

// parseKey parses a key such as account_id={account_id}/region={region}. Slashes at both ends are removed.
func parseKey(s string) (keyTemplate, error) {
	var t keyTemplate
	for rest := strings.Trim(s, "/"); rest != ""; {
		text, after, braced := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return nil, fmt.Errorf("%q: a } without {", s)
		}
		t = append(t, keyPart{text: text})
		if !braced {
			break
		}
		field, after, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf("%q: a { without }", s)
		}
		if !slices.Contains(keyFields, field) {
			return nil, fmt.Errorf("%q: unknown field {%s}; known fields: {%s}", s, field, strings.Join(keyFields, "}, {"))
		}
		t = append(t, keyPart{field: field})
		rest = after
	}
	return t, nil
}

// A location has the values of a line for the fields of a key.
type location struct {
	account, accountID, partition, region, kind, run string
	at                                               time.Time
}

func (t keyTemplate) render(p location) string {
	var b strings.Builder
	for _, part := range t {
		b.WriteString(part.text)
		switch part.field {
		case "":
		case "account":
			writeKeyValue(&b, p.account)
		case "account_id":
			writeKeyValue(&b, p.accountID)
		case "partition":
			writeKeyValue(&b, p.partition)
		case "region":
			writeKeyValue(&b, p.region)
		case "kind":
			writeKeyValue(&b, p.kind)
		case "run":
			writeKeyValue(&b, p.run)
		case "date":
			date := ""
			if !p.at.IsZero() {
				date = p.at.UTC().Format(time.DateOnly)
			}
			writeKeyValue(&b, date)
		}
	}
	return b.String()
}

// writeKeyValue escapes a value as Hive does: characters that could end it, or have a meaning for a store, become %XX.
func writeKeyValue(b *strings.Builder, v string) {
	if v == "" {
		v = nullPartition
	}
	dots := strings.Trim(v, ".") == "" // some stores treat "." and ".." as directories
	for i := range len(v) {
		switch c := v[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && !dots:
			b.WriteByte(c)
		default:
			fmt.Fprintf(b, "%%%02X", c)
		}
	}
}

// locationOf decodes only the fields of a key. The end of a target has no account id, and its time is the time of the
// run.
func locationOf(line []byte) (location, error) {
	type envelope struct {
		Kind        string    `json:"kind"`
		Account     string    `json:"account"`
		AccountID   string    `json:"account_id"`
		Partition   string    `json:"partition"`
		Region      string    `json:"region"`
		Run         string    `json:"run"`
		CollectedAt time.Time `json:"collected_at"`
	}
	var l struct {
		envelope
		Change string    `json:"change"`
		At     time.Time `json:"at"`
		Of     *envelope `json:"record"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return location{}, fmt.Errorf("a line is not a record: %w: %.100q", err, line)
	}
	e, at := l.envelope, l.CollectedAt
	if l.Change != "" {
		at = l.At
		if l.Of != nil {
			e = *l.Of
		}
	}
	if at.IsZero() {
		if id, err := ulid.ParseStrict(e.Run); err == nil {
			at = ulid.Time(id.Time())
		}
	}
	return location{e.Account, e.AccountID, e.Partition, e.Region, e.Kind, e.Run, at}, nil
}
