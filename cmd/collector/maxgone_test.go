package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws-collector/collector/internal/awsfake"
)

// With max_gone, a listing that lacks most resources is unconfirmed: nothing is gone, and every command says so. The
// next complete listing confirms it.
func TestMaxGone(t *testing.T) {
	cloud := awsfake.New(awsfake.Options{Seed: 3})
	prod, many, few := cloud.AddAccount("222222222222", "aws"), cloud.AddAccount("333333333333", "aws"),
		cloud.AddAccount("444444444444", "aws")
	many.AddInstances("us-east-1", 20)
	few.AddInstances("us-east-1", 3)
	s, err := cloud.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	k := prod.AddUser("collector").NewKey()
	write(t, config, fmt.Sprintf(`
data_dir: %[1]s/data
collector_configs: {regions: [us-east-1], max_gone: {percent: 50, at_least: 5}}
accounts: [{name: prod, ak_id: %[2]s, ak_secret: "%[3]s"}]
outputs: [{type: file, path: %[1]s/records.jsonl}]
`, dir, k.ID, k.Secret))
	t.Setenv("AWS_ENDPOINT_URL", s.URL) // the SDK reads it
	t.Setenv("HOME", dir)
	tell := func(wantCode int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		err := run(t.Context(), append(args, "--config", config), os.Getenv, &out, &errs)
		if code := exitCode(err, &errs); code != wantCode {
			t.Errorf("%q: exit %d, want %d\n%s", args, code, wantCode, errs.String())
		}
		return out.String() + errs.String()
	}
	ids := func() []string {
		return strings.Fields(tell(exitDone, "list", "instance", "-q", "--where", "state!=terminated"))
	}

	prod.ShareResources(many)
	tell(exitDone, "run", "--once")
	before := ids()
	prod.ShareResources(few)
	tell(exitPartial, "run", "--once")
	if got := tell(exitDone, "status"); !strings.Contains(got, "prod     us-east-1  unconfirmed") {
		t.Errorf("status: %s", got)
	}
	got := tell(exitDone, "list", "instance", "-q")
	for _, id := range before {
		if !strings.Contains(got, id+"\n") {
			t.Errorf("%s is gone: %s", id, got)
		}
	}
	if !strings.Contains(got, "the last listing of ec2_instance is unconfirmed: some of its resources may be gone") {
		t.Errorf("list: %s", got)
	}
	tell(exitDone, "run", "--once")
	after := ids()
	if got := tell(exitDone, "status"); strings.Contains(got, "unconfirmed") || len(before) < 10 || len(after) > 3 {
		t.Errorf("%d instances, then %d; status: %s", len(before), len(after), got)
	}
	if got := tell(exitDone, "history", before[0]); !strings.Contains(got, "then absent") {
		t.Errorf("history: %s", got)
	}
}
