package collectors

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// guessedStateAndType finds state and type as releases did that did not know them from the catalogue: by the names of
// members. What is stored was found so, and must not change.
func guessedStateAndType(t *testing.T, kind string, data []byte) (state, typ string) {
	t.Helper()
	var members map[string]json.RawMessage
	if len(data) > 0 && data[0] == '{' {
		if err := json.Unmarshal(data, &members); err != nil {
			t.Fatal(err)
		}
	}
	words := strings.Split(strings.TrimPrefix(kind, "ec2_"), "_")
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	if state = guessedText(members["State"]); state == "" {
		state = guessedText(members["Status"])
	}
	for _, name := range []string{"", strings.Join(words, ""), words[len(words)-1], words[0], "Instance"} {
		if value, ok := members[name+"Type"]; ok {
			return state, guessedText(value)
		}
	}
	return state, ""
}

func guessedText(value json.RawMessage) (text string) {
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	var of struct{ Name, Code any }
	if json.Unmarshal(value, &of) != nil {
		return ""
	}
	if name, ok := of.Name.(string); ok && name != "" {
		return name
	}
	text, _ = of.Code.(string)
	return text
}

// checkStatesAndTypes compares what the decoder marked with what was guessed, and returns the number of each.
func checkStatesAndTypes(t *testing.T, kind string, p *record.Page) (records, states, types int) {
	t.Helper()
	unquoted := func(q []byte) string {
		if q == nil {
			return ""
		}
		s, err := record.Unquote(q)
		if err != nil {
			t.Fatalf("%s: %s: %v", kind, q, err)
		}
		return s
	}
	for v := range p.Views() {
		state, typ := guessedStateAndType(t, kind, v.Data())
		if gotState, gotType := unquoted(v.State()), unquoted(v.Type()); gotState != state || gotType != typ {
			t.Errorf("%s: state %q and type %q, want %q and %q: %.200s", kind, gotState, gotType, state, typ, v.Data())
		}
		records++
		if state != "" {
			states++
		}
		if typ != "" {
			types++
		}
	}
	return records, states, types
}

// The rows of EC2's kinds name the members that were guessed, whichever of them a response has. No release guessed
// those of other services.
func TestStatesAndTypesOfAllKinds(t *testing.T) {
	withState, withType := 0, 0
	for i := range Kinds {
		k := &Kinds[i]
		if k.Service().Name != "ec2" {
			continue
		}
		for _, omit := range []string{"", "State", "Status", "Name", "Code", "Type", "InstanceType", "ReservationType"} {
			p := decoded(t, k, awsxml.Digest, responseWriter{numbered: true, omit: omit})
			n, states, types := checkStatesAndTypes(t, k.Name, p)
			if n == 0 {
				t.Errorf("%s: no records", k.Name)
			}
			if omit == "" && states == n {
				withState++
			}
			if omit == "" && types == n {
				withType++
			}
			if omit == "" && ((states > 0) != (k.State != "") || (types > 0) != (k.Type != "")) {
				t.Errorf("%s: the row has state %q and type %q", k.Name, k.State, k.Type)
			}
		}
	}
	if withState < 80 || withType < 30 {
		t.Errorf("%d kinds have a state and %d a type", withState, withType)
	}
}

// The same for the records of a fake AWS and the recorded response.
func TestStatesAndTypesOfRecords(t *testing.T) {
	records, states, types := 0, 0, 0
	check := func(kind string, p *record.Page) {
		r, s, ty := checkStatesAndTypes(t, kind, p)
		records, states, types = records+r, states+s, types+ty
	}
	withFakeAWS(
		t,
		awsfake.Options{},
		func(_ *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions) {
			c.AddInstances("eu-west-1", 12)
			for i := range Kinds {
				k := &Kinds[i]
				if k.Parent != "" || k.Service().Name != "ec2" {
					continue
				}
				_, err := l.each(context.Background(), w(k, "eu-west-1"), k, "", func(p *record.Page) error {
					check(k.Name, p)
					return nil
				})
				if err != nil {
					t.Errorf("%s: %v", k.Name, err)
				}
			}
		},
	)
	if records < 100 || states < 50 || types < 30 {
		t.Errorf("only %d records with %d states and %d types", records, states, types)
	}
	response, err := os.ReadFile("testdata/golden/ec2_instance.xml")
	if err != nil {
		t.Fatal(err)
	}
	k := kind(t, "ec2_instance")
	prog, err := k.compile()
	if err != nil {
		t.Fatal(err)
	}
	p := new(record.Page)
	o := awsxml.Options{Envelope: record.NewEnvelope(record.Target{Kind: k.Name}, record.Identity{}, []byte("{}"), "", "")}
	if _, err := new(awsxml.Decoder).Decode(prog, o, bytes.NewReader(response), p); err != nil {
		t.Fatal(err)
	}
	if n, states, types := checkStatesAndTypes(t, k.Name, p); n == 0 || states != n || types == 0 {
		t.Errorf("%d recorded instances have %d states and %d types", n, states, types)
	}
}
