package outputstest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/aws-collector/collector/record"
)

// texts generates difficult strings for line protocol.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringOf(
			rapid.SampledFrom(
				[]rune{
					'a', 'B', ' ', ',', '=', '\\', '"', '\'', '\n', '\r', '\t', '\x00', '\x7f', '#', '.', 'é', '日', '😀', '\u2028',
					'\ufffd',
				},
			),
		),
		rapid.String(),
		rapid.SampledFrom(
			[]string{
				"", "name", "RegionId", "message", "class", "time", "State", "id", "present", "extra_name",
				strings.Repeat("x", 3000), strings.Repeat("日\\,", 400),
			},
		))
}

// AnyValue generates any JSON.
func AnyValue() *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(texts(), func(s string) any { return s }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(
			rapid.Int64(),
			func(n int64) any { return n },
		),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
	)
	return rapid.OneOf(leaf, leaf, rapid.Map(rapid.SliceOfN(leaf, 0, 3), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(texts(), leaf, 0, 3), func(m map[string]any) any { return m }))
}

func AnyRecord(kinds ...string) *rapid.Generator[record.Record] {
	return rapid.Custom(func(t *rapid.T) record.Record {
		data, err := json.Marshal(rapid.MapOfN(texts(), AnyValue(), 0, 12).Draw(t, "data"))
		if err != nil {
			t.Fatal(err)
		}
		return record.Record{
			Kind: rapid.SampledFrom(kinds).
				Draw(t, "kind"),
			ID: "x" + texts().Draw(t, "id"), Account: texts().Draw(t, "account"), AccountID: "222222222222",
			Partition: "aws", Region: "us-east-1", Name: texts().Draw(t, "name"),
			Tags:      rapid.MapOfN(texts(), texts(), 0, 5).Draw(t, "tags"),
			ExtraTags: rapid.MapOfN(texts(), texts(), 0, 12).Draw(t, "extra"), Run: "01JD",
			CollectedAt: time.Unix(0, rapid.Int64Range(1, 1<<62).Draw(t, "at")).UTC(), Data: data,
		}
	})
}

// asValue and asName return a text as a tag's value and as a name, independently of the code under test.
func asValue(s string, maxBytes int) string {
	for r := rune(0); r <= 127; r++ {
		if r < 32 || r == 127 {
			s = strings.ReplaceAll(s, string(r), " ")
		}
	}
	unescaping := func(s string) string { return beforeSpecial.ReplaceAllString(s, "$1") }
	s = unescaping(s)
	if maxBytes == 0 || len(s) <= maxBytes {
		return s
	}
	return unescaping(strings.ToValidUTF8(s[:maxBytes], ""))
}

var beforeSpecial = regexp.MustCompile(`\\+([,= ]|$)`)

func asName(s string, dotless bool) string {
	s = strings.ReplaceAll(asValue(s, 0), `\`, "")
	if dotless { // DataKit
		s = strings.ReplaceAll(s, ".", "_")
		s = strings.ToValidUTF8(s[:min(len(s), 256)], "")
	}
	return s
}

// CheckPoint compares a point with its record: id, time, and each member and extra tag with a name of its own.
func CheckPoint(t *rapid.T, got []LinePoint, r record.Record, idTag string, maxTag int, dotless bool) {
	if len(got) != 1 {
		t.Fatalf("%d points", len(got))
	}
	p := got[0]
	if want := asValue(r.ID, maxTag); p.Tags[idTag] != want || !p.At.Equal(r.CollectedAt) {
		t.Errorf("id %q, want %q; at %s, want %s", p.Tags[idTag], want, p.At, r.CollectedAt)
	}
	uses := map[string]int{} // the winner of a name that is used twice is tested elsewhere
	var data map[string]json.RawMessage
	if err := json.Unmarshal(r.Data, &data); err != nil {
		t.Fatal(err)
	}
	for key := range data {
		uses[asName(key, dotless)]++
	}
	for key := range r.ExtraTags {
		uses[asName(key, dotless)]++
	}
	own := []string{
		"", "name", "RegionId", "AccountId", "cloud_provider", "VolumeName", "message", "class", "date", "time", "State",
		"Status", "Type", "id", "account", "account_id", "partition", "region", "present", "_field", "_measurement",
		"_time", "_value",
	}
	for key, value := range r.ExtraTags {
		name := asName(key, dotless)
		if uses[name] > 1 || slices.Contains(own, name) || asValue(value, maxTag) == "" ||
			strings.HasPrefix(name, "extra_") {
			continue
		}
		if p.Tags[name] != asValue(value, maxTag) {
			t.Errorf("extra tag %q: %q, want %q", key, p.Tags[name], value)
		}
	}
	if r.Kind == "ec2_instance" && idTag == "name" {
		return // it has only five fields
	}
	for key, raw := range data {
		name := asName(key, dotless)
		if uses[name] > 1 || slices.Contains(own, name) || string(raw) == "null" {
			continue
		}
		var want any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		switch want.(type) {
		case map[string]any, []any:
			if !SameJSON(p.Fields[name], string(raw)) {
				t.Errorf("field %q: %v, want %s", key, p.Fields[name], raw)
			}
		default:
			if p.Fields[name] != want {
				t.Errorf("field %q: %v, want %v", key, p.Fields[name], want)
			}
		}
	}
}

func SameJSON(got any, want string) bool {
	text, ok := got.(string)
	var a, b any
	return ok && json.Unmarshal([]byte(text), &a) == nil && json.Unmarshal([]byte(want), &b) == nil && cmp.Equal(a, b)
}
