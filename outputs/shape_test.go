package outputs

import (
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/record"
)

const (
	webLine = `{"kind":"ec2_instance","id":"i-1","account":"prod","account_id":"222222222222","partition":"aws",` +
		`"region":"us-east-1",` +
		`"name":"web","tags":{"team.name":"a<b","env":"prod"},"extra_tags":{"cost":"1"},"run":"R",` +
		`"collected_at":"2026-11-21T22:15:03Z",` +
		`"data":{"InstanceId":"i-1","State":{"Name":"running"},"Big":12345678901234567890,` +
		`"LaunchTime":"2026-11-01T00:00:00Z"}}` + "\n"
	idleLine = `{"kind":"ec2_instance","id":"i-2","account":"prod","region":"us-east-1","tags":{},"extra_tags":{},` +
		`"run":"R","collected_at":"2026-11-21T22:15:03Z","data":{"State":{"Name":"stopped"}}}` + "\n"
	goneLine = `{"change":"gone","kind":"ec2_instance","id":"i-3","record":{"kind":"ec2_instance","id":"i-3",` +
		`"tags":{"env":"dev"},"data":{"InstanceId":"i-3"}}}` + "\n"
	shapedEnd = `{"kind":"_target","account":"prod","region":"us-east-1","target":"ec2_instance","state":"ok",` +
		`"records":2,"run":"R"}` + "\n"
)

func TestShape(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		shaping Shaping
		lines   string
		want    string
		n       int
	}{
		"nothing to do": {Shaping{}, webLine + "no JSON", webLine + "no JSON", 9},
		"by state":      {Shaping{Where: "state=running"}, webLine + idleLine, webLine, 1},
		"by extra tag":  {Shaping{Where: "extra_tags.cost=1"}, idleLine + webLine, webLine, 1},
		"by data":       {Shaping{Where: "data.InstanceId=i-1"}, webLine + idleLine, webLine, 1},
		"by age":        {Shaping{Where: "data.LaunchTime < 10d"}, webLine + idleLine, webLine, 1},
		"too young":     {Shaping{Where: "data.LaunchTime < 30d"}, webLine + idleLine, "", 0},
		"kind alone":    {Shaping{Where: "kind=ec2_volume"}, webLine + "never read", "", 0},
		"ends pass":     {Shaping{Where: "state=running"}, idleLine + shapedEnd, shapedEnd, 0},
		"changes pass":  {Shaping{Where: "state=running"}, goneLine, goneLine, 1},
		"renamed in a change": {Shaping{Rename: map[string]string{"data.InstanceId": "data.id"}}, goneLine,
			`{"change":"gone","id":"i-3","kind":"ec2_instance","record":{"data":{"id":"i-3"},"id":"i-3",` +
				`"kind":"ec2_instance","tags":{"env":"dev"}}}` + "\n", 1},
		"renamed": {Shaping{Rename: map[string]string{"data.InstanceId": "host.id", "tags.team.name": "team",
			"data.Big": "", "account": "who.account", "absent": "x",
			"extra_tags": "", "data.State": "state", "data.LaunchTime": "", "collected_at": "@timestamp"}}, webLine,
			`{"@timestamp":"2026-11-21T22:15:03Z","account_id":"222222222222","data":{},"host":{"id":"i-1"},"id":"i-1",` +
				`"kind":"ec2_instance","name":"web","partition":"aws","region":"us-east-1",` +
				`"run":"R","state":{"Name":"running"},"tags":{"env":"prod"},"team":"a<b","who":{"account":"prod"}}` + "\n", 1},
		"numbers keep their digits": {Shaping{Where: "id=i-1",
			Rename: map[string]string{"data.Big": "big", "data": "", "tags": "", "extra_tags": ""}}, webLine + idleLine,
			`{"account":"prod","account_id":"222222222222","big":12345678901234567890,"collected_at":"2026-11-21T22:15:03Z",` +
				`"id":"i-1","kind":"ec2_instance","name":"web","partition":"aws","region":"us-east-1","run":"R"}` + "\n", 1},
	} {
		batch := Batch{N: 9, Lines: []byte(c.lines), Target: record.Target{Kind: "ec2_instance"}}
		b, err := c.shaping.Apply(batch, now, instanceKind)
		if err != nil || b.N != c.n || string(b.Lines) != c.want {
			t.Errorf("%s: %d, %v\n%swant %d\n%s", name, b.N, err, b.Lines, c.n, c.want)
		}
	}
	s := Shaping{Where: "state=running"}
	if _, err := s.Apply(Batch{Lines: []byte("{]\n")}, now, instanceKind); err == nil ||
		!strings.Contains(err.Error(), "not a JSON object") {
		t.Errorf("a line that is not JSON: %v", err)
	}
}

func instanceKind(string) record.KindInfo { return record.KindInfo{State: []string{"State.Name"}} }

func TestShapingValidate(t *testing.T) {
	for name, c := range map[string]struct {
		shaping    Shaping
		translates bool
		want       string // "": valid
	}{
		"where": {Shaping{Where: "state=running and tags.team"}, true, ""},
		"where that does not parse": {Shaping{Where: "state="}, false,
			`where: at character 7 of "state=": expected a value after =`},
		"where of the store's": {Shaping{Where: "state=stopped and not (id=i-1 or state_since < 3d)"}, false,
			"where: state_since is known only in the store"},
		"rename": {Shaping{Rename: map[string]string{"account": "who"}}, false, ""},
		"rename of what is needed": {Shaping{Rename: map[string]string{"account": "who"}}, true,
			`rename: "account": this output translates records and needs account under its own name`},
		"rename of all the data": {Shaping{Rename: map[string]string{"data": ""}}, true,
			`rename: "data": this output translates`},
		"rename within": {Shaping{Rename: map[string]string{"data.X": "tags.x", "tags.y": ""}}, true, ""},
		"rename out of it": {Shaping{Rename: map[string]string{"data.X": "x"}}, true,
			`rename: "data.X": "x": this output translates`},
		"rename of nothing": {Shaping{Rename: map[string]string{"InstanceId": "x"}}, false,
			`rename: "InstanceId": unknown member InstanceId`},
		"rename with an empty member": {Shaping{Rename: map[string]string{"data..X": "x"}}, false,
			"a path is members separated by dots"},
		"rename to a path with none": {Shaping{Rename: map[string]string{"data.X": "x."}}, false,
			"a path is members separated by dots"},
	} {
		err := c.shaping.validate(c.translates)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
