package outputs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// keyFields is what an object's key can be made of.
var keyFields = []string{"account", "account_id", "partition", "region", "kind", "date", "run"}

// nullPartition stands in a key where a line does not say: Hive's own word for NULL in a partition.
const nullPartition = "__HIVE_DEFAULT_PARTITION__"

// A keyTemplate is a key with the names of fields in braces, taken apart.
type keyTemplate []keyPart

type keyPart struct{ text, field string }

// parseKey takes account_id={account_id}/region={region}. Its result has no slash at either end.
func parseKey(s string) (keyTemplate, error) {
	var t keyTemplate
	for rest := strings.Trim(s, "/"); rest != ""; {
		text, after, braced := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return nil, fmt.Errorf("%q: a } has no {", s)
		}
		t = append(t, keyPart{text: text})
		if !braced {
			break
		}
		field, after, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf("%q: a { has no }", s)
		}
		if !slices.Contains(keyFields, field) {
			return nil, fmt.Errorf("%q: there is no {%s}; there are {%s}", s, field, strings.Join(keyFields, "}, {"))
		}
		t = append(t, keyPart{field: field})
		rest = after
	}
	return t, nil
}

// A place is what a line says of where it belongs.
type spoolHarness struct {
	account, accountID, partition, region, kind, run string
	at                                               time.Time
}

func (t keyTemplate) render(p spoolHarness) string {
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

// writeKeyValue writes a value as Hive does: what could end it, or be read as something else by a store, is written %XX.
func writeKeyValue(b *strings.Builder, v string) {
	if v == "" {
		v = nullPartition
	}
	dots := strings.Trim(v, ".") == "" // "." and ".." are folders to some stores
	for i := range len(v) {
		switch c := v[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && !dots:
			b.WriteByte(c)
		default:
			fmt.Fprintf(b, "%%%02X", c)
		}
	}
}

// locationOf reads no more of a line than it needs. The end of a target says neither account id nor time: its time is the run's.
func locationOf(line []byte) (spoolHarness, error) {
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
		return spoolHarness{}, fmt.Errorf("a line that is no record: %w: %.100q", err, line)
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
	return spoolHarness{e.Account, e.AccountID, e.Partition, e.Region, e.Kind, e.Run, at}, nil
}
