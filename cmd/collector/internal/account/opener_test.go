package account

import (
	"testing"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/secret"
)

// The jobs of a run share a session while its credentials are valid, and the next run signs in again. With --once there
// is no next run, so the credentials are freed.
func TestSessionOfARun(t *testing.T) {
	simulated := awsfake.New(awsfake.Options{})
	server := simulated.InMemory()
	t.Cleanup(server.Close)
	home := simulated.AddAccount("111111111111", "aws")
	key := home.AddUser("alice").NewKey()
	role := home.AddRole("reader", awsfake.RoleOptions{
		Trust: []awsfake.Trust{{Principals: []string{"arn:aws:iam::111111111111:root"}}},
	})
	f := new(config.File)
	f.Limits.Pages = 1
	aws, err := OpenAWS(t.Context(), f, AWSOptions{
		Load: auth.LoadOptions{
			Isolated: true, Endpoint: server.URL, DialContext: server.DialContext, Getenv: func(string) string { return "" },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { aws.Close() })
	opens := 0
	opener := &Opener{AWS: aws, Observe: func(e runner.Event) {
		if _, ok := e.(runner.SessionExpires); ok {
			opens++
		}
	}}
	block := config.Account{Name: "prod", Schedule: "@hourly"}
	block.AKID, block.AKSecret, block.Role.ARN = key.ID, secret.New(key.Secret), role.ARN
	open := func(a *runner.Account, wantOpens, wantCalls int) *Opened {
		t.Helper()
		o, err := a.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if calls := len(simulated.Calls(nil)); opens != wantOpens || calls != wantCalls {
			t.Errorf("%d sign-ins and %d calls, want %d and %d", opens, calls, wantOpens, wantCalls)
		}
		return o.(*Opened)
	}
	a, err := opener.Account(&block)
	if err != nil {
		t.Fatal(err)
	}
	first := open(a, 1, 1)
	if second := open(a, 1, 1); second == first || second.Session != first.Session {
		t.Error("a job does not have the session of its run, or shares more than the session")
	}
	a.AfterRun(t.Context())
	if open(a, 2, 1).Session == first.Session {
		t.Error("the next run did not sign in")
	}
	opener.Once = true
	a.AfterRun(t.Context())
	last := open(a, 3, 2)

	c, err := last.Session.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last.Session.Reject(c) // as when AWS refuses the credentials as expired
	role.SetTrust()
	if _, err := a.Open(t.Context()); record.ReasonOf(err) != record.AssumeDenied {
		t.Errorf("a job whose role was closed during its run: %v", err)
	}
}
