package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// bubble runs f with a fixture and a fake clock.
func bubble(t *testing.T, f func(t *testing.T, w *fixture)) {
	t.Helper()
	bubbleWith(t, awsfake.Options{}, f)
}

func bubbleWith(t *testing.T, o awsfake.Options, f func(t *testing.T, w *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newFixture(t, o)) })
}

// works reports whether AWS accepts the current credentials.
func (w *fixture) works(s *Session) bool {
	w.t.Helper()
	cfg, err := LoadAWS(w.t.Context(), w.load)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = newSTSClient(cfg).callerIdentity(w.t.Context(), "us-east-1", retrieve(w, s))
	if err != nil {
		w.t.Log(err)
	}
	return err == nil
}

// TestConcurrentSignIns: concurrent sign-ins share one AssumeRole for a role, and one GetCallerIdentity for a key.
func TestConcurrentSignIns(t *testing.T) {
	w := newFixture(t, awsfake.Options{Latency: 20 * time.Millisecond})
	s := w.sessions(Options{})
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			a := w.ak()
			if i%2 == 0 {
				a = w.ak(role(w.role.ARN))
			}
			a.Name = fmt.Sprint("block ", i)
			got, err := s.Open(t.Context(), a)
			if err == nil {
				_, err = got.Retrieve(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	w.count("AssumeRole", 1)
	w.count("GetCallerIdentity", 1)
}

// TestRenewedForADay: an hour's session is renewed for a day, in time and not more often than needed.
func TestRenewedForADay(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		s := w.open(w.sessions(Options{}), w.ak(role(w.role.ARN)))
		for range 24 * 60 {
			time.Sleep(time.Minute)
			if c := retrieve(w, s); time.Until(c.Expires) <= 0 {
				t.Fatalf("returned %s after expiry", time.Since(c.Expires))
			}
			synctest.Wait() // for the renewal in the background
		}
		if n := len(w.calls("AssumeRole")); n < 24 || n > 28 {
			t.Errorf("%d sessions of one hour in a day", n)
		}
		w.count("GetCallerIdentity", 0) // STS names the identity of a role's session with it
	})
}

// TestAnAttemptHangs: a dead connection, before or during the response, costs one attempt and not the sign-in.
func TestAnAttemptHangs(t *testing.T) {
	for _, f := range []awsfake.Fault{{Kind: awsfake.Hang}, {Kind: awsfake.SlowBody, Delay: time.Hour}} {
		for _, action := range []string{"AssumeRole", "GetCallerIdentity"} {
			bubble(t, func(t *testing.T, w *fixture) {
				f.Service, f.Action, f.Count = "sts", action, 1
				w.aws.Inject(f)
				start := time.Now()
				a := w.ak()
				if action == "AssumeRole" {
					a = w.ak(role(w.role.ARN))
				}
				w.open(w.sessions(Options{}), a)
				if d := time.Since(start); d < attemptTimeout || d > attemptTimeout+callBackoff {
					t.Errorf("%v, %s: signed in after %s", f.Kind, action, d)
				}
			})
		}
	}
}

// TestRenewalFails: valid credentials stay in use without a wait, whether STS refuses or hangs, and the log says so.
// When they expire, the error is returned; when STS is back, the sign-in works again.
func TestRenewalFails(t *testing.T) {
	for _, kind := range []awsfake.FaultKind{awsfake.Unavailable, awsfake.Hang, awsfake.Reset, awsfake.ProxyPage} {
		bubble(t, func(t *testing.T, w *fixture) {
			s := w.open(w.sessions(Options{}), w.ak(role(w.role.ARN)))
			before := retrieve(w, s)
			mend := w.aws.Inject(awsfake.Fault{Kind: kind, Service: "sts"})
			time.Sleep(58 * time.Minute)
			start := time.Now()
			if c := retrieve(w, s); c.AccessKeyID != before.AccessKeyID {
				t.Error("valid credentials were lost")
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("waited %s though there were valid ones", d)
			}
			time.Sleep(90 * time.Second)
			if c := retrieve(w, s); c.AccessKeyID != before.AccessKeyID {
				t.Error("valid credentials were lost")
			}
			synctest.Wait()
			if !strings.Contains(w.log.String(), "credentials not renewed") {
				t.Error("the failed renewal is not in the log")
			}
			time.Sleep(time.Minute) // the credentials expire
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			defer cancel()
			start = time.Now()
			_, err := s.Retrieve(ctx)
			if err == nil {
				t.Error("expired credentials were returned")
			}
			if d := time.Since(start); d > 7*time.Second {
				t.Errorf("waited %s past its own context", d)
			}
			mend()
			time.Sleep(time.Minute)
			if !w.works(s) {
				t.Error("no valid credentials after the fault ended")
			}
		})
	}
}

// TestRenewalIsPaced: a failing renewal is not repeated at each of thousands of calls.
func TestRenewalIsPaced(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		s := w.open(w.sessions(Options{}), w.ak(role(w.role.ARN)))
		w.other.DeleteRole("reader")
		for range 59 * 60 {
			time.Sleep(time.Second)
			retrieve(w, s)
		}
		if n := len(w.calls("AssumeRole")); n < 3 || n > 12 {
			t.Errorf("%d calls in the last minutes of a session, want one each half minute", n)
		}
	})
}

// TestHungSTS: an STS that hangs affects only its own account. A caller waits as long as its context allows, and does
// not block the next one.
func TestHungSTS(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		s := w.sessions(Options{})
		mend := w.aws.Inject(awsfake.Fault{Kind: awsfake.Hang, Account: "111111111111", Service: "sts"})
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("the run's time is over"))
		defer cancel()
		start := time.Now()
		_, err := s.Open(ctx, w.ak())
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("returned after %s", d)
		}
		if record.ReasonOf(err) != record.TimedOut || !strings.Contains(err.Error(), "the run's time is over") {
			t.Errorf("%v is %s", err, record.ReasonOf(err))
		}
		carol := w.other.AddUser("carol").NewKey()
		start = time.Now()
		w.open(s, block(key(carol)))
		if d := time.Since(start); d != 0 {
			t.Errorf("another account waited %s", d)
		}
		mend()
		time.Sleep(callTimeout)
		w.open(s, w.ak())
	})
}

// TestExpiredByServer: AWS says "expired" before our clock does. One renewal serves all callers that notice it; inner
// sessions that expired are renewed too; if only a person can renew one, the error says so.
func TestExpiredByServer(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		s := w.open(w.sessions(Options{}), w.ak(role(w.role.ARN)))
		old := retrieve(w, s)
		time.Sleep(10 * time.Second)
		for range 8 { // regions that notice it one after the other
			s.RejectCurrent()
			if c := retrieve(w, s); c.AccessKeyID == old.AccessKeyID {
				t.Fatal("the refused credentials were returned again")
			}
		}
		w.count("AssumeRole", 2)
		s.Reject(old) // replaced before: no effect
		retrieve(w, s)
		w.count("AssumeRole", 2)
		if !w.works(s) {
			t.Error("still refused")
		}
	})
	t.Run("inner", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *fixture) {
			final := w.home.AddRole("final", trusting(w.role.ARN))
			a := w.ak(func(a *config.Account) { a.Roles = []config.Role{{ARN: w.role.ARN}, {ARN: final.ARN}} })
			s := w.open(w.sessions(Options{}), a)
			inner := retrieve(w, &Session{last: s.last.prev})
			time.Sleep(10 * time.Second)
			w.aws.Inject(awsfake.Fault{Kind: awsfake.Expire, Account: w.other.ID, Action: "AssumeRole", Count: 1})
			s.RejectCurrent()
			if !w.works(s) {
				t.Error("the expired inner session was not renewed")
			}
			if retrieve(w, &Session{last: s.last.prev}).AccessKeyID == inner.AccessKeyID {
				t.Error("the inner session is the expired one")
			}
			w.count("AssumeRole", 5) // two, one refused, two
		})
	})
	t.Run("mfa", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *fixture) {
			sessions := w.sessions(Options{})
			a := w.ak(device(w.mfa.Serial, w.mfa.Now()), role(w.role.ARN))
			s := w.open(sessions, a)
			time.Sleep(10 * time.Second)
			// AWS ends the MFA session an hour before it expires by our clock.
			mend := w.aws.Inject(awsfake.Fault{Kind: awsfake.Expire, Account: w.home.ID, Action: "AssumeRole"})
			s.RejectCurrent()
			_, err := s.Retrieve(t.Context())
			if record.ReasonOf(err) != record.MFANeeded {
				t.Errorf("%v is %s, want a request for a new code", err, record.ReasonOf(err))
			}
			mend()
			w.count("GetSessionToken", 1)
			time.Sleep(time.Minute)
			w.refused(sessions, a, record.MFANeeded, "`token_code`")
			// A person gives the next code. It is used only because the stored session is refused once more.
			w.aws.Inject(awsfake.Fault{Kind: awsfake.Expire, Account: w.home.ID, Action: "AssumeRole", Count: 1})
			w.open(sessions, w.ak(device(w.mfa.Serial, w.mfa.Now()), role(w.role.ARN)))
			w.count("GetSessionToken", 2)
		})
	})
}

// TestRevoked: a role in the middle of a chain whose sessions were revoked gets "denied", not "expired". It is assumed
// again, once for all accounts behind it. If that fails, valid credentials stay; if the session is young, a denied call
// is not repeated.
func TestRevoked(t *testing.T) {
	const members = 100
	chain := func(w *fixture) (sessions *Sessions, accounts []config.Account) {
		for i := range members {
			final := w.home.AddRole(fmt.Sprint("final", i), trusting(w.role.ARN))
			accounts = append(accounts, w.ak(func(a *config.Account) {
				a.Roles = []config.Role{{ARN: w.role.ARN}, {ARN: final.ARN}}
			}))
		}
		return w.sessions(Options{}), accounts
	}
	all := func(w *fixture, s *Sessions, accounts []config.Account) (failed int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, a := range accounts {
			wg.Go(func() {
				got, err := s.Open(w.t.Context(), a)
				if err == nil {
					got.RejectCurrent()
					_, err = got.Retrieve(w.t.Context())
				}
				mu.Lock()
				defer mu.Unlock()
				if record.ReasonOf(err) == record.AssumeDenied {
					failed++
				} else if err != nil {
					w.t.Error(err)
				}
			})
		}
		wg.Wait()
		return failed
	}
	bubble(t, func(t *testing.T, w *fixture) {
		s, accounts := chain(w)
		if n := all(w, s, accounts); n > 0 {
			t.Fatalf("%d are denied", n)
		}
		time.Sleep(time.Minute)
		w.role.Revoke()
		w.aws.ResetCalls()
		if n := all(w, s, accounts); n != members {
			t.Errorf("%d of %d are denied: a young session is not refreshed", n, members)
		}
		w.count("AssumeRole", members)
		time.Sleep(revocationAge)
		w.aws.ResetCalls()
		if n := all(w, s, accounts); n > 0 {
			t.Errorf("%d are denied still", n)
		}
		if n := len(w.calls("AssumeRole")); n > 2*members+1 {
			t.Errorf("%d calls: the role was assumed %d times", n, n-2*members)
		}
	})
	bubble(t, func(t *testing.T, w *fixture) { // the role does not exist, so the denials are right
		s, accounts := chain(w)
		for i := range accounts {
			accounts[i].Roles[1].ARN += "-absent"
		}
		all(w, s, accounts)
		time.Sleep(revocationAge)
		w.aws.ResetCalls()
		for range 3 {
			if n := all(w, s, accounts); n != members {
				t.Errorf("%d are denied", n)
			}
			time.Sleep(negativeCacheTTL)
		}
		hub := w.aws.Calls(func(c *awsfake.Call) bool { return c.Action == "AssumeRole" && c.Code == "" })
		if len(hub) != 1 {
			t.Errorf("the role in the middle was assumed %d times", len(hub))
		}
	})
	bubble(t, func(t *testing.T, w *fixture) {
		s, accounts := chain(w)
		all(w, s, accounts[:1])
		hub := w.open(s, accounts[0]).last.prev
		before := retrieve(w, &Session{last: hub})
		time.Sleep(revocationAge)
		w.role.SetTrust() // trusts nobody, so it cannot be assumed again
		w.role.Revoke()
		if n := all(w, s, accounts[:1]); n != 1 {
			t.Error("the role was assumed")
		}
		if c := retrieve(w, &Session{last: hub}); c.AccessKeyID != before.AccessKeyID {
			t.Error("valid credentials were lost")
		}
	})
	bubble(t, func(t *testing.T, w *fixture) { // an MFA session is never dropped for a denial: it costs a code
		s := w.sessions(Options{})
		w.refused(s, w.ak(device(w.mfa.Serial, w.mfa.Now()), role(w.role.ARN+"-absent")), record.AssumeDenied)
		time.Sleep(revocationAge)
		w.refused(s, w.ak(device(w.mfa.Serial, w.mfa.Now()), role(w.role.ARN+"-absent")), record.AssumeDenied)
		w.count("GetSessionToken", 1)
	})
}

// TestRevokedTop: the sessions of the last role were revoked. GetCallerIdentity still works, so the first denial of an
// action that was allowed before makes the role be assumed again: once for all callers, not for an action that was
// never allowed, and not again if it did not help.
func TestRevokedTop(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		final := w.other.AddRole("final", trusting(w.role.ARN))
		s := w.open(w.sessions(Options{}), w.ak(role(w.role.ARN)))
		cfg, err := LoadAWS(t.Context(), w.load)
		if err != nil {
			t.Fatal(err)
		}
		call := func(c aws.Credentials) error { // something that needs a permission
			in := &sts.AssumeRoleInput{RoleArn: &final.ARN, RoleSessionName: aws.String("test")}
			_, err := newSTSClient(cfg).assumeRole(t.Context(), "us-east-1", c, in, new(issuedSession))
			return err
		}
		const action, never = "ec2:DescribeVolumes", "ec2:DescribeHosts"
		old := retrieve(w, s)
		if err := call(old); err != nil {
			t.Fatal(err)
		}
		s.Allowed(action)
		time.Sleep(time.Minute)
		w.role.Revoke()
		w.aws.ResetCalls()
		if record.ReasonOf(call(old)) != record.AccessDenied || !w.works(s) {
			t.Fatal("a revoked session is denied everything but GetCallerIdentity")
		}
		if w.aws.ResetCalls(); s.Denied(t.Context(), old, action) {
			t.Error("a young session was refreshed")
		}
		time.Sleep(revocationAge)
		if s.Denied(t.Context(), old, never) {
			t.Error("refreshed for an action that was never allowed")
		}
		w.count("AssumeRole", 0)
		var others sync.WaitGroup
		for range 100 {
			others.Go(func() {
				if !s.Denied(t.Context(), old, action) {
					t.Error("there are no other credentials")
				}
			})
		}
		others.Wait()
		w.count("AssumeRole", 1)
		fresh := retrieve(w, s)
		if err := call(fresh); err != nil || strings.Count(w.log.String(), "role re-assumed") != 1 {
			t.Errorf("%v, log:\n%s", err, w.log.String())
		}
		// AWS denies it to the new session as well: the permission was removed.
		s.Denied(t.Context(), fresh, action)
		time.Sleep(revocationAge)
		if s.Denied(t.Context(), fresh, action) {
			t.Error("assumed again, although that did not help the last time")
		}
		w.count("AssumeRole", 2) // with the call above
		s.Allowed(action)
		time.Sleep(revocationAge)
		w.role.SetTrust() // trusts nobody
		w.role.Revoke()
		if s.Denied(t.Context(), retrieve(w, s), action) || retrieve(w, s).AccessKeyID != fresh.AccessKeyID {
			t.Error("valid credentials were lost")
		}
	})
}

// TestInstanceRoleLasts: all accounts of the instance share one metadata client and one cache, for days.
func TestInstanceRoleLasts(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		r := w.home.AddRole("instance", trusting("ec2.amazonaws.com"))
		w.aws.SetIMDS(&awsfake.IMDS{Role: r, Region: "us-east-1", InstanceID: "i-0123456789abcdef0"})
		s := w.sessions(Options{})
		for range 3 * 24 * 4 {
			for _, a := range []config.Account{block(), block(role(w.role.ARN)), block(source("Ec2InstanceMetadata"))} {
				if !w.works(w.open(s, a)) {
					t.Fatal("refused")
				}
			}
			time.Sleep(15 * time.Minute)
		}
	})
}

// TestRefusalIsRepeated: a clear refusal is repeated without a call for negativeCacheTTL, and not longer.
func TestRefusalIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		s := w.sessions(Options{})
		a := w.ak(role("arn:aws:iam::222222222222:role/later"))
		for range 50 {
			w.refused(s, a, record.AssumeDenied)
		}
		w.count("AssumeRole", 1)
		w.other.AddRole("later", trusting(w.home.ID))
		time.Sleep(negativeCacheTTL)
		w.open(s, a)
	})
}

// TestClose: no caller is left waiting, and no new call starts.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		s := w.sessions(Options{})
		open := w.open(s, w.ak(role(w.role.ARN)))
		w.aws.Inject(awsfake.Fault{Kind: awsfake.Hang, Service: "sts"})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Open(t.Context(), w.ak()); err == nil {
				t.Error("opened although STS hangs")
			}
		})
		synctest.Wait()
		start := time.Now()
		s.Close()
		s.Close()
		wg.Wait()
		if d := time.Since(start); d != 0 {
			t.Errorf("Close took %s", d)
		}
		if _, err := open.Retrieve(t.Context()); err != nil {
			t.Errorf("valid credentials were lost: %v", err)
		}
		absent := w.ak(role("arn:aws:iam::222222222222:role/x"))
		if _, err := s.Open(t.Context(), absent); record.ReasonOf(err) != record.Interrupted {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestIdle: sessions that are not opened for days are removed; used ones are not.
func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		s := w.sessions(Options{})
		used := w.open(s, w.ak())
		w.open(s, w.ak(role(w.role.ARN)))
		for range 5 {
			time.Sleep(idleTimeout / 4)
			if w.open(s, w.ak()).resolver != used.resolver {
				t.Fatal("a used session was removed")
			}
		}
		w.open(s, block(key(w.other.AddUser("dave").NewKey())))
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.cachedSteps) != 2 {
			t.Errorf("%d steps are cached, want 2", len(s.cachedSteps))
		}
	})
}

// TestRenewalTime: renewal begins well before expiry, and never in the first half of a session.
func TestRenewalTime(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, left := range []time.Duration{time.Minute, 15 * time.Minute, time.Hour, 36 * time.Hour} {
		for range 200 {
			due := renewalTime(aws.Credentials{CanExpire: true, Expires: at.Add(left)}, at)
			late := at.Add(left - min(renewalWindow, left/4)/2)
			if due.Before(at.Add(left/2)) || due.After(late) || due.Before(at.Add(left-renewalWindow)) {
				t.Fatalf("of %s, renewal begins after %s", left, due.Sub(at))
			}
		}
	}
}

// TestForget: Forget keeps only credentials that other blocks may share or that cost a code; an open session is not
// affected.
func TestForget(t *testing.T) {
	bubble(t, func(t *testing.T, w *fixture) {
		hub := w.role
		final := w.other.AddRole("final", trusting(hub.ARN, w.home.ID))
		s := w.sessions(Options{})
		empty := len(s.cachedSteps)
		two := w.ak(func(a *config.Account) { a.Roles = []config.Role{{ARN: hub.ARN}, {ARN: final.ARN}} })
		session := w.open(s, two)
		s.Forget(t.Context(), two)
		if n := len(s.cachedSteps) - empty; n != 1 {
			t.Errorf("%d steps are cached, want that of the role in the middle", n)
		}
		if !w.works(session) {
			t.Error("the open session lost its credentials")
		}
		w.aws.ResetCalls()
		w.open(s, two)
		w.count("AssumeRole", 1)

		coded := w.ak(device(w.mfa.Serial, w.mfa.Now()), role(final.ARN))
		w.open(s, coded)
		w.aws.ResetCalls()
		s.Forget(t.Context(), coded)
		w.open(s, coded)
		w.count("GetSessionToken", 0)
		w.count("AssumeRole", 1)
	})
}
