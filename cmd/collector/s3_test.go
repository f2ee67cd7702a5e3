package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// At the end of a run, the bucket has the same records as a file output, in a folder for each account. They are written
// with the credentials of the default chain.
func TestRunToS3(t *testing.T) {
	t.Parallel()
	scene, aws := startScene(t)
	backend := s3mem.New()
	if err := backend.CreateBucket("records"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(backend).Server()
	var mu sync.Mutex
	signers := map[string]bool{}
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		key, _, _ = strings.Cut(key, "/")
		signers[key] = true
		mu.Unlock()
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(store.Close)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	k := scene.Accounts[0].Key
	write(t, config, fmt.Sprintf(`
data_dir: %[1]s/data
collector_configs: {regions: ["*"], kinds: [ec2_instance, ec2_volume]}
accounts: [{name: prod, ak_id: %[2]s, ak_secret: "%[3]s"}]
outputs:
  - {type: file, path: %[1]s/records.jsonl}
  - {type: s3, bucket: records, prefix: inventory, endpoint: "%[4]s"}
`, dir, k.ID, k.Secret, store.URL))
	env := []string{
		"AWS_ENDPOINT_URL=" + aws.URL, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID=AKIAI44QH8DHBEXAMPLE", "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	}
	if _, stderr, code := runProcess(t, env, "run", "--once", "--config", config); code != exitDone {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	if len(signers) != 1 || !signers["AKIAI44QH8DHBEXAMPLE"] {
		t.Errorf("signed by %v", signers)
	}
	list, err := backend.ListBucket("records", nil, gofakes3.ListBucketPage{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list.Contents {
		o, err := backend.GetObject("records", c.Key, nil)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(o.Contents)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(lines) {
			got = append(got, string(line))
			folder, _, _ := strings.Cut(strings.TrimPrefix(c.Key, "inventory/account_id="), "/date=")
			id, region, _ := strings.Cut(folder, "/region=")
			if !bytes.Contains(line, []byte(`"account_id":"`+id+`"`)) || !bytes.Contains(line, []byte(`"region":"`+region+`"`)) {
				t.Errorf("%s holds %.200s", c.Key, line)
			}
		}
	}
	all, err := os.ReadFile(filepath.Join(dir, "records.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(strings.Lines(string(all)))
	if slices.Sort(got); len(got) == 0 || !slices.Equal(got, want) {
		t.Errorf("the bucket has %d records, the file %d", len(got), len(want))
	}
}
