package outputstest

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs"
)

func RecordLine(kind, id, name, extra, data string) string {
	return fmt.Sprintf(
		`{"kind":%q,"id":%q,"account":"prod","account_id":"222222222222","partition":"aws-cn","region":"cn-northwest-1",`+
			`"name":%q,"tags":{},`+
			`"extra_tags":%s,"run":"01JD","collected_at":"2026-11-21T22:15:03Z","data":%s}`,
		kind,
		id,
		name,
		extra,
		data,
	)
}

// The three types of lines.
const (
	ResourceLine = `{"kind":"ec2_instance","id":"i-1","account":"prod","account_id":"222222222222","partition":"aws",` +
		`"region":"us-east-1","name":"web-1","tags":{"Name":"web-1"},"extra_tags":{"team":"platform"},"run":"01JDRUN",` +
		`"collected_at":"2026-11-21T22:15:03Z","data":{"InstanceId":"i-1"}}`
	ChangedLine = `{"at":"2026-11-21T22:15:04Z","change":"changed","kind":"ec2_instance","id":"i-1","account":"prod",` +
		`"account_id":"222222222222","partition":"aws","region":"us-east-1","changes":[{"path":"State.Name",` +
		`"from":"running","to":"stopped"}],"record":` + ResourceLine + `}`
	GoneLine = `{"at":"2026-11-21T22:30:04Z","change":"gone","ended":"absent","kind":"ec2_instance","id":"i-1",` +
		`"account":"prod","account_id":"222222222222","partition":"aws","region":"us-east-1","changes":null,"record":` +
		ResourceLine + `}`
	TargetEndLine = `{"kind":"_target","account":"prod","region":"us-east-1","target":"ec2_instance","state":"ok",` +
		`"records":1,"run":"01JDRUN"}`
)

func ParseTime(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// LinesBatch makes a batch of the given lines.
func LinesBatch(text ...string) outputs.Batch {
	b := outputs.Batch{ID: "b", N: len(text)}
	for _, s := range text {
		b.Lines = append(append(b.Lines, s...), '\n')
	}
	return b
}
