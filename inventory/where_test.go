package inventory

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/record"
)

var now = time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)

func resource() *Resource {
	return &Resource{
		Record: record.Record{Kind: "ec2_instance", ID: "i-1", Name: "web 1",
			Account: "prod", AccountID: "222222222222", Partition: "aws", Region: "us-east-1",
			Tags:      map[string]string{"team": "platform", "a.b": "dotted", "empty": "", "cost center": "7"},
			ExtraTags: map[string]string{"env": "prod"},
			Data: json.RawMessage(`{"State":{"Name":"running","Code":16},"Cpu":8,"LaunchTime":"2026-11-01T00:00:00.000Z",
				"EbsOptimized":true,"Nothing":null,
				"IpPermissions":[{"FromPort":22,"IpRanges":[{"CidrIp":"10.0.0.0/8"},{"CidrIp":"0.0.0.0/0"}]},
				{"FromPort":443,"IpRanges":[]}],"Empty":[]}`)},
		State: "running", Type: "t3.micro", StateSince: now.AddDate(0, 0, -40), ValidFrom: now.Add(-time.Hour),
		FirstSeen: now.AddDate(0, 0, -400), LastSeen: now,
	}
}

func TestWhere(t *testing.T) {
	r := resource()
	for text, want := range map[string]bool{
		"state=running":                                         true,
		"state==running":                                        true,
		"state = running and tags.team=platform":                true,
		"state=stopped or tags.team=platform":                   true,
		"state=stopped or state=pending and tags.team=platform": false,
		"(state=running or state=pending) and tags.team=other":  false,
		"not state=running":                                     false,
		"not not state=running":                                 true,
		"not state=stopped and type=t3.micro":                   true, // not binds closest
		"not (state=stopped and type=t3.micro)":                 true,
		"state!=running":                                        false,
		"state!=stopped":                                        true,
		"tags.absent!=x":                                        true,
		"tags.absent=x":                                         false,
		"tags.absent":                                           false,
		"not tags.absent":                                       true,
		"tags.team":                                             true,
		"tags.empty":                                            true,
		"tags.empty=''":                                         true,
		"tags.a.b=dotted":                                       true,
		"tags.'cost center'=7":                                  true,
		`tags."cost center"="7"`:                                true,
		"extra_tags.env=prod":                                   true,
		"name='web 1'":                                          true,
		"name~web*":                                             true,
		"name!~web*":                                            false,
		"name~'w?b [0-9]'":                                      true,
		"type in (t2.micro, t3.micro)":                          true,
		"type in (t2.micro)":                                    false,
		"type IN (t3.micro) AND NOT region=eu-west-1":           true,
		"data.State.Name=running":                               true,
		"data.State.Code=16":                                    true,
		"data.State":                                            true,
		"data.Cpu>=8 and data.Cpu<10 and data.Cpu<=8 and data.Cpu>7": true,
		"data.Cpu>10":            false, // compared as numbers: as text, 8 is greater
		"data.EbsOptimized=true": true,
		"data.Nothing":           false,
		"data.Empty":             false,
		"data.State.Name.Deeper": false,
		"data.IpPermissions.IpRanges.CidrIp=0.0.0.0/0":  true,
		"data.IpPermissions.IpRanges.CidrIp~10.*":       true,
		"data.IpPermissions.IpRanges.CidrIp!=0.0.0.0/0": false,
		"data.IpPermissions.FromPort>100":               true,
		"data.IpPermissions.FromPort>1000":              false,
		"data.LaunchTime<10d":                           true,
		"data.LaunchTime<2026-11-02":                    true,
		"data.LaunchTime>2026-11-02":                    false,
		"state_since<30d":                               true,
		"state_since>30d":                               false,
		"valid_from>2h and valid_from<30m":              true,
		"state_since older than 30d":                    true,
		"state_since newer than 30d":                    false,
		"data.LaunchTime newer than 30d":                true,
		"data.LaunchTime OLDER THAN 2026-11-02":         true,
		"older than 1d and state=running":               true,
		"not newer than 7d":                             true,
		"(newer than 500d)":                             true,
		"tags.team newer than 7d":                       false, // not an instant
		"tags.'newer'=x":                                false,
		"valid_to":                                      false,
		"last_seen=2026-11-21T22:00Z":                   true,
		"id='i-1\x00'":                                  false,
		"account_id=222222222222 and partition=aws":     true,
		"'state'=running":                               true, // a quoted field is a field
		"tags.team='and'":                               false,
	} {
		w, err := ParseWhere(text, now)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := w.Match(r)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if ok, err := (*Where)(nil).Match(r); !ok || err != nil {
		t.Error("no condition is not satisfied")
	}
}

func TestParseWhereErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                              `at character 1 of "": expected a field`,
		"state":                         "",
		"state=":                        "expected a value after =",
		"state=running andd":            "at character 15",
		"state=running and":             "expected a field",
		"(state=running":                "expected )",
		"state=running)":                "expected and, or, or the end",
		"name LIKE 'web%'":              "at character 6 of \"name LIKE 'web%'\": expected and, or, or the end; write name~",
		"name is null":                  "; write a field alone, such as tags.owner",
		"state_since between 1d and 2d": "; write two comparisons",
		"state=running && type=x":       "; write and in place of &&",
		"state=running || type=x":       "; write or in place of ||",
		"name <> 'x'":                   "write != for not equal",
		"State=running":                 "did you mean data.State?",
		"stat=running":                  "unknown field stat",
		"tags.=x":                       "the tag key is missing",
		"data.A..B=x":                   "the member name is missing",
		"name='web":                     "the quote is not closed",
		"name~[":                        "invalid glob",
		"type in t2.micro":              "expected ( after in",
		"type in (t2.micro":             "expected , or )",
		"type in ()":                    "expected a value",
		"state!running":                 "expected != or !~",
		"older 7d":                      "expected than after older",
		"state_since newer than":        "expected an age or a time after than",
		"newer than yesterday":          `"yesterday" is not`,
		"first_seen newer than (1d)":    "expected an age",
		"= running":                     "expected a field",
		strings.Repeat("(", 5000):       "nested too deeply",
		strings.Repeat("not ", 5000):    "nested too deeply",
		"state=running; DROP TABLE x--": "expected and, or, or the end",
	} {
		_, err := ParseWhere(text, now)
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && !strings.Contains(got, want) {
			t.Errorf("%.40q: %s", text, got)
		}
	}
}

func FuzzParseWhere(f *testing.F) {
	for _, s := range []string{
		"state=running and tags.team='x y'", "not (a or b)", "type in (a,b)", "name~*[", "data.A.B<3d", "(((",
	} {
		f.Add(s)
	}
	r := resource()
	f.Fuzz(func(t *testing.T, s string) {
		w, err := ParseWhere(s, now)
		if err != nil {
			return
		}
		first, err := w.Match(r)
		if err != nil {
			t.Fatal(err)
		}
		// RequiredValues never excludes a resource that matches.
		for column, value := range map[string]string{
			"state": r.State, "type": r.Type, "id": r.ID, "name": r.Name, "kind": r.Kind,
		} {
			only := w.RequiredValues(column)
			if only == nil || !first {
				continue
			}
			found := false
			for _, o := range only {
				found = found || o == value
			}
			if !found {
				t.Errorf("%q matches, but %s is only %q", s, column, only)
			}
		}
	})
}

// The terms of a condition, joined again, are the condition; without one of them it is less strict.
func TestWhereTerms(t *testing.T) {
	for where, want := range map[string]string{
		"": "", " state=running ": "state=running", "a.b": "", "state=": "",
		"state=running and tags.team=web":        "state=running | tags.team=web",
		"name='x and y' AND not (kind or id)":    "name='x and y' | not (kind or id)",
		"state=running or id=a and id=b":         "(state=running or id=a and id=b)",
		"(state=running or id=a) and id=b":       "(state=running or id=a) | id=b",
		"type in (a, b) and older than 3d":       "type in (a, b) | older than 3d",
		"(state=running and id=a) and (id=b)":    "(state=running and id=a) | (id=b)",
		`name="it's" and tags.'a and b'=c or id`: `(name="it's" and tags.'a and b'=c or id)`,
	} {
		if got := strings.Join(WhereTerms(where), " | "); got != want {
			t.Errorf("%q: %q, want %q", where, got, want)
		}
	}
}

// A value is found whatever it has, and so is a tag key.
func TestQuoteWord(t *testing.T) {
	for _, id := range []string{"i-1", `a"b`, "a'b", `a'"b`, "'", "x' or id='y", "a b\n", `\'`, "and", "In", "a=b"} {
		w, err := ParseWhere(QuoteWord("tags."+id)+"="+QuoteWord(id), now)
		if err != nil {
			t.Errorf("%q: %v", id, err)
			continue
		}
		for _, other := range []string{id, "y"} {
			ok, err := w.Match(&Resource{Record: record.Record{Tags: map[string]string{id: other}}})
			if ok != (other == id) || err != nil {
				t.Errorf("%q matches %q: %v %v", id, other, ok, err)
			}
		}
	}
}

func TestOnly(t *testing.T) {
	for text, want := range map[string]string{
		"state=running":                           "[running]",
		"type=x and state in (a, b)":              "[a b]",
		"state=a or type=b":                       "[]",
		"not state=a":                             "[]",
		"state!=a":                                "[]",
		"type=x and (state=a and not region=b)":   "[a]",
		"tags.state=a":                            "[]",
		"state~a*":                                "[]",
		"(state=a or state=b) and state in (c,d)": "[c d]",
	} {
		w, err := ParseWhere(text, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(w.RequiredValues("state")); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	for s, want := range map[string]string{
		"2026-11-01":                "2026-11-01T00:00:00Z",
		"2026-11-01T08:30Z":         "2026-11-01T08:30:00Z",
		"2026-11-01T08:30:01+02:00": "2026-11-01T06:30:01Z",
		"3d":                        "2026-11-18T22:00:00Z",
		"1d12h":                     "2026-11-20T10:00:00Z",
		"90m":                       "2026-11-21T20:30:00Z",
		"":                          "", "d": "", "-3d": "", "+1h": "", "yesterday": "", "3": "", "99999999999999d": "",
		"1dx": "",
	} {
		got, err := ParseTime(s, now)
		if want == "" {
			if err == nil {
				t.Errorf("%q is %s", s, got)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: %s, %v", s, got, err)
		}
	}
}

func TestDeltas(t *testing.T) {
	for _, c := range []struct{ name, a, b, want string }{
		{"nothing", `{"A":1,"B":[1,2]}`, `{"B":[2,1],"A":1}`, ``},
		{"member", `{"State":{"Name":"running","Code":16}}`, `{"State":{"Name":"stopped","Code":80}}`,
			`State.Code 16 80; State.Name "running" "stopped"`},
		{"came and went", `{"A":1}`, `{"B":{"C":"<x>"}}`, `A 1 null; B null {"C":"<x>"}`},
		{"tags", `{"Tags":[{"Key":"a","Value":"1"},{"Key":"b","Value":"2"}]}`,
			`{"Tags":[{"Key":"b","Value":"3"},{"Key":"c","Value":"4"}]}`,
			`Tags[a] {"Key":"a","Value":"1"} null; Tags[b].Value "2" "3"; Tags[c] null {"Key":"c","Value":"4"}`},
		{
			"by id", `{"N":[{"Status":"x","NetworkInterfaceId":"eni-1"}]}`,
			`{"N":[{"Status":"y","NetworkInterfaceId":"eni-1"}]}`, `N[eni-1].Status "x" "y"`,
		},
		{"one id twice", `{"N":[{"Id":"a","V":1},{"Id":"a","V":2}]}`, `{"N":[{"Id":"a","V":1},{"Id":"a","V":3}]}`,
			`N[] {"Id":"a","V":2} null; N[] null {"Id":"a","V":3}`},
		{"a list of words", `{"L":["a","b","b"]}`, `{"L":["b","c","b"]}`, `L[] "a" null; L[] null "c"`},
		{"another type", `{"A":[1]}`, `{"A":{"B":1}}`, `A [1] {"B":1}`},
		{
			"a large number", `{"A":12345678901234567890}`, `{"A":12345678901234567891}`,
			`A 12345678901234567890 12345678901234567891`,
		},
	} {
		ds, err := Deltas([]byte(c.a), []byte(c.b))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range ds {
			got = append(got, fmt.Sprintf("%s %s %s", d.Path, d.From, d.To))
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, s, c.want)
		}
	}
	if _, err := Deltas([]byte(`{`), []byte(`{}`)); err == nil {
		t.Error("half a document is compared")
	}
}

// The state and type of a record that is not stored are the first texts at the paths of its kind.
func TestResourceOf(t *testing.T) {
	for _, c := range []struct{ state, typ, data, want string }{
		{"State.Name", "InstanceType", `{"State":{"Code":16,"Name":"on"},"InstanceType":"t3.micro"}`, "on t3.micro"},
		{"State|Status.Code", "Type", `{"State":"open","Status":{"Code":"x"},"Type":"one-time"}`, "open one-time"},
		{"State|Status.Code", "Type", `{"State":"","Status":{"Code":"x"}}`, "x "},
		{"Status.Code", "A|B", `{"Status":{"Message":"Active"},"B":"b"}`, " b"},
		{"State", "Type", `{"State":{"Name":"deep"},"Type":7}`, " "},
		{"State.Name", "Type", `{"State":"flat","Type":null}`, " "},
		{"State", "Type", `{"State"`, " "},
		{"State", "Type", `[]`, " "},
		{"State", "Type", ``, " "},
		{"", "", `{"State":"on"}`, " "},
	} {
		split := func(paths string) []string {
			return strings.FieldsFunc(paths, func(r rune) bool { return r == '|' })
		}
		kind := record.KindInfo{State: split(c.state), Type: split(c.typ)}
		r := ResourceOf(record.Record{ID: "i-1", Data: []byte(c.data)}, kind)
		if got := r.State + " " + r.Type; got != c.want || r.ID != "i-1" {
			t.Errorf("%s: %q, want %q", c.data, got, c.want)
		}
	}
}

func TestIndex(t *testing.T) {
	x := newIndex([]entry{{id: "first", seen: true}})
	for i := range 10_000 {
		id := fmt.Sprintf("i-%d", i)
		if x.find([]byte(id)) != nil {
			t.Fatal("there before it is added")
		}
		x.add(entry{id: id, sum: record.Digest{byte(i)}})
	}
	for i := range 10_000 {
		e := x.find(fmt.Appendf(nil, "i-%d", i))
		if e == nil || e.sum != (record.Digest{byte(i)}) {
			t.Fatalf("i-%d: %v", i, e)
		}
		e.seen = i%3 > 0
	}
	n := 0
	for _, id := range x.gone() {
		if n++; x.find([]byte(id)).seen {
			t.Fatalf("%s was seen", id)
		}
	}
	if x.find([]byte("first")) == nil {
		t.Error("what was read is not found")
	}
	if n != 3334 {
		t.Errorf("%d are unseen", n)
	}
	if size := x.size(); size < 10_000*60 || size > 10_000*150 {
		t.Errorf("%d bytes", size)
	}
}

func TestWhereUses(t *testing.T) {
	for s, want := range map[string]string{
		"state=running and tags.first_seen":  "",
		"not (id=i-1 or (state_since < 3d))": "state_since",
		"last_seen":                          "last_seen",
	} {
		w, err := ParseWhere(s, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := w.Uses(StoredFields[:]...); got != want || ok != (want != "") {
			t.Errorf("%s uses %q, want %q", s, got, want)
		}
	}
	if _, ok := (*Where)(nil).Uses("id"); ok {
		t.Error("no condition uses a column")
	}
}
