package s3_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/outputs/s3"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A mockAWS is a moto server that enforces signatures and policies: botocore computes each signature. It is set up with
// AWS's CLI.
type mockAWS struct {
	t           *testing.T
	url         string
	key, secret string // of a user with all permissions for S3
}

// openCalls is the number of calls that moto accepts without authentication: those that create the user and the bucket.
const openCalls = 4

func startMockAWS(t *testing.T) *mockAWS {
	t.Helper()
	for _, tool := range []string{"moto_server", "aws"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED, NOT PASSED: %s is not installed (pip install 'moto[server]' awscli)", tool)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	_, port, err := net.SplitHostPort(address)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "moto_server", "-p", port)
	cmd.Env = append(os.Environ(), fmt.Sprint("INITIAL_NO_AUTH_ACTION_COUNT=", openCalls))
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &output, &output, 5*time.Second
	must(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("output of moto_server:\n%s", output.Bytes()[max(0, output.Len()-4000):])
		}
	})
	m := &mockAWS{t: t, url: "http://" + address, key: exampleKey, secret: exampleSecret}
	for deadline := time.Now().Add(time.Minute); ; {
		if c, err := net.Dial("tcp", address); err == nil {
			must(t, c.Close())
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("moto_server does not answer: %v", err)
		}
		<-time.After(50 * time.Millisecond)
	}
	m.aws("iam", "create-user", "--user-name", "writer")
	m.aws("iam", "put-user-policy", "--user-name", "writer", "--policy-name", "s3",
		"--policy-document", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
	m.aws("s3api", "create-bucket", "--bucket", "records")
	var made struct {
		AccessKey struct{ AccessKeyID, SecretAccessKey string }
	}
	must(t, json.Unmarshal(m.aws("iam", "create-access-key", "--user-name", "writer"), &made))
	m.key, m.secret = made.AccessKey.AccessKeyID, made.AccessKey.SecretAccessKey
	return m
}

func (m *mockAWS) aws(args ...string) []byte {
	m.t.Helper()
	cmd := exec.CommandContext(
		m.t.Context(),
		"aws",
		append([]string{"--endpoint-url", m.url, "--region", "us-east-1", "--output", "json"}, args...)...)
	cmd.Env = append(
		os.Environ(),
		"AWS_ACCESS_KEY_ID="+m.key, "AWS_SECRET_ACCESS_KEY="+m.secret, "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
	)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		m.t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// Another implementation of S3 accepts our signatures and stores what was sent; its errors are recognised.
func TestS3Moto(t *testing.T) {
	m := startMockAWS(t)
	out := openBucket(t, m.url, func(o *s3.Options) {
		o.AKID, o.AKSecret = m.key, secret.New(m.secret)
		o.Prefix, o.Key = "inventory", "{account_id}/{date}" // moto changes a path with %, = or a space; see TestS3Paths
		o.SSE, o.StorageClass = "AES256", "STANDARD_IA"
	})
	must(t, out.Send(t.Context(), mixedBatch()))
	must(t, out.Send(t.Context(), mixedBatch()))
	var list struct {
		Contents []struct{ Key, StorageClass string }
	}
	must(t, json.Unmarshal(m.aws("s3api", "list-objects-v2", "--bucket", "records"), &list))
	dir := t.TempDir()
	m.aws("s3", "sync", "s3://records", dir)
	var ids []string
	for _, c := range list.Contents {
		if c.StorageClass != "STANDARD_IA" || !strings.HasPrefix(c.Key, "inventory/") {
			t.Errorf("%+v", c)
		}
		body, err := os.ReadFile(filepath.Join(dir, c.Key))
		must(t, err)
		ids = append(ids, outputstest.IDs(t, plain(t, c.Key, body))...)
	}
	if slices.Sort(ids); !slices.Equal(ids, []string{"", "i-1", "i-2", "i-3", "vol-1", "vol-2"}) ||
		len(list.Contents) != 4 { // the end of a target has no id
		t.Errorf("%q in %d objects", ids, len(list.Contents))
	}
	for name, c := range map[string]struct {
		set  func(*s3.Options)
		want record.Reason
	}{
		"wrong secret": {func(o *s3.Options) { o.AKID = m.key }, record.BadSignature},
		"unknown key":  {func(*s3.Options) {}, record.BadKey},
		"no bucket": {func(o *s3.Options) {
			o.Key = "{date}"
			o.AKID, o.AKSecret, o.Bucket = m.key, secret.New(m.secret), "nowhere"
		}, record.Other},
	} {
		err := openBucket(t, m.url, c.set).Send(t.Context(), mixedBatch())
		if record.ReasonOf(err) != c.want || record.HintOf(err) == "" || errors.Is(err, outputs.ErrRefused) {
			t.Errorf("%s: %v (%s, %s)", name, err, record.ReasonOf(err), record.HintOf(err))
		}
	}
}
