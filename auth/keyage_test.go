package auth

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

func TestKeyAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t, awsfake.Options{})
		created := time.Now().Add(-100 * 24 * time.Hour).Truncate(time.Second).UTC()
		w.user.NewKey() // a second key, which is not used
		w.user.SetKeyCreated(w.key.ID, created)
		s := w.sessions(Options{})

		ses := w.open(s, w.ak(role(w.role.ARN)))
		age, ok, err := s.KeyAge(t.Context(), ses)
		if err != nil || !ok || !age.Created.Equal(created) || !strings.HasPrefix(age.Key, "AKIA…") {
			t.Errorf("a key behind a role: %+v, %v, %v; want %s", age, ok, err, created)
		}

		var wg sync.WaitGroup
		for range 100 { // accounts with one key
			wg.Go(func() {
				if again, _, err := s.KeyAge(t.Context(), w.open(s, w.ak())); err != nil || again != age {
					t.Errorf("%+v, %v", again, err)
				}
			})
		}
		wg.Wait()
		w.count("ListAccessKeys", 1)

		w.home.Deny(awsfake.Denial{Action: "iam:ListAccessKeys"})
		s = w.sessions(Options{})
		_, ok, err = s.KeyAge(t.Context(), w.open(s, w.ak()))
		if !ok || record.ReasonOf(err) != record.AccessDenied || strings.Contains(err.Error(), w.key.Secret) {
			t.Errorf("where the user may not ask: %v, %v", ok, err)
		}

		temp := trusting("ec2.amazonaws.com")
		w.aws.SetIMDS(&awsfake.IMDS{Role: w.home.AddRole("box", temp)})
		ses = w.open(s, block(func(a *config.Account) { a.CredentialSource = "Ec2InstanceMetadata" }))
		before := len(w.calls("ListAccessKeys"))
		if age, ok, err = s.KeyAge(t.Context(), ses); ok || err != nil || len(w.calls("ListAccessKeys")) != before {
			t.Errorf("an instance role has no key to age: %+v, %v, %v", age, ok, err)
		}
	})
}
