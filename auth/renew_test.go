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

// bubble is a world with a clock of its own.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	bubbleWith(t, awsfake.Options{}, f)
}

func bubbleWith(t *testing.T, o awsfake.Options, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t, o)) })
}

// good asks AWS whether credentials are good now.
func (w *world) good(s *Session) bool {
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

// TestCrowd: however many come at once, a role is entered once, and a key is asked whose it is once.
func TestCrowd(t *testing.T) {
	w := newWorld(t, awsfake.Options{Latency: 20 * time.Millisecond})
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

// TestDay: a session of an hour lasts for a day, renewed in time and no more often than it must.
func TestDay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.open(w.sessions(Options{}), w.ak(role(w.role.ARN)))
		for range 24 * 60 {
			time.Sleep(time.Minute)
			if c := retrieve(w, s); time.Until(c.Expires) <= 0 {
				t.Fatalf("handed out %s after the end", time.Since(c.Expires))
			}
			synctest.Wait() // the renewal behind it
		}
		if n := len(w.calls("AssumeRole")); n < 24 || n > 28 {
			t.Errorf("%d sessions in a day of one hour each", n)
		}
		w.count("GetCallerIdentity", 0) // STS says whose a role's session is when it gives it
	})
}

// TestAnAttemptHangs: a connection that died in silence, before the answer or within it, costs one attempt and not the sign-in.
func TestAnAttemptHangs(t *testing.T) {
	for _, f := range []awsfake.Fault{{Kind: awsfake.Hang}, {Kind: awsfake.SlowBody, Delay: time.Hour}} {
		for _, action := range []string{"AssumeRole", "GetCallerIdentity"} {
			bubble(t, func(t *testing.T, w *world) {
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

// TestRenewalFails: what is valid is kept and given at once, whether STS refuses or hangs; the log says so; when it ends,
// the error comes out; when STS is back, so are we.
func TestRenewalFails(t *testing.T) {
	for _, kind := range []awsfake.FaultKind{awsfake.Unavailable, awsfake.Hang, awsfake.Reset, awsfake.ProxyPage} {
		bubble(t, func(t *testing.T, w *world) {
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
			if !strings.Contains(w.log.String(), "what is valid is kept") {
				t.Error("the log does not tell of a failed renewal")
			}
			time.Sleep(time.Minute) // over
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			defer cancel()
			start = time.Now()
			_, err := s.Retrieve(ctx)
			if err == nil {
				t.Error("expired credentials were given")
			}
			if d := time.Since(start); d > 7*time.Second {
				t.Errorf("waited %s past its own context", d)
			}
			mend()
			time.Sleep(time.Minute)
			if !w.good(s) {
				t.Error("not good again after STS was mended")
			}
		})
	}
}

// TestRenewalIsPaced: a renewal that fails is not tried at each call, of which there are thousands.
func TestRenewalIsPaced(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.open(w.sessions(Options{}), w.ak(role(w.role.ARN)))
		w.other.DeleteRole("reader")
		for range 59 * 60 {
			time.Sleep(time.Second)
			retrieve(w, s)
		}
		if n := len(w.calls("AssumeRole")); n < 3 || n > 12 {
			t.Errorf("%d calls for the last minutes of a session, want one each half minute", n)
		}
	})
}

// TestHung: an STS that hangs costs its own account; a caller waits as long as its context lets it, and the next finds no
// blocked way.
func TestHung(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
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

// TestExpiredByServer: AWS says "expired" while our clock does not. One renewal serves all who noticed, inner sessions that
// are dead are renewed too, and one that can only be renewed by a person is said so.
func TestExpiredByServer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.open(w.sessions(Options{}), w.ak(role(w.role.ARN)))
		old := retrieve(w, s)
		time.Sleep(10 * time.Second)
		for range 8 { // regions that notice one after the other
			s.Invalidate()
			if c := retrieve(w, s); c.AccessKeyID == old.AccessKeyID {
				t.Fatal("the refused credentials were given again")
			}
		}
		w.count("AssumeRole", 2)
		s.Drop(old) // long gone: changes nothing
		retrieve(w, s)
		w.count("AssumeRole", 2)
		if !w.good(s) {
			t.Error("still refused")
		}
	})
	t.Run("inner", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			final := w.home.AddRole("final", awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{w.role.ARN}}}})
			a := w.ak(func(a *config.Account) { a.Roles = []config.Role{{ARN: w.role.ARN}, {ARN: final.ARN}} })
			s := w.open(w.sessions(Options{}), a)
			inner := retrieve(w, &Session{top: s.top.prev})
			time.Sleep(10 * time.Second)
			w.aws.Inject(awsfake.Fault{Kind: awsfake.Expire, Account: w.other.ID, Action: "AssumeRole", Count: 1})
			s.Invalidate()
			if !w.good(s) {
				t.Error("the dead inner session was not renewed")
			}
			if retrieve(w, &Session{top: s.top.prev}).AccessKeyID == inner.AccessKeyID {
				t.Error("the inner session is the dead one")
			}
			w.count("AssumeRole", 5) // two, one refused, two
		})
	})
	t.Run("mfa", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			sessions := w.sessions(Options{})
			a := w.ak(device(w.mfa.Serial, w.mfa.Now()), role(w.role.ARN))
			s := w.open(sessions, a)
			time.Sleep(10 * time.Second)
			// The MFA session dies at AWS, an hour before its time by our clock.
			mend := w.aws.Inject(awsfake.Fault{Kind: awsfake.Expire, Account: w.home.ID, Action: "AssumeRole"})
			s.Invalidate()
			_, err := s.Retrieve(t.Context())
			if record.ReasonOf(err) != record.MFANeeded {
				t.Errorf("%v is %s, want a new code to be asked for", err, record.ReasonOf(err))
			}
			mend()
			w.count("GetSessionToken", 1)
			time.Sleep(time.Minute)
			w.refused(sessions, a, record.MFANeeded, "`token_code`")
			// A person gives the next code. It is spent only because the stored session is refused once more.
			w.aws.Inject(awsfake.Fault{Kind: awsfake.Expire, Account: w.home.ID, Action: "AssumeRole", Count: 1})
			w.open(sessions, w.ak(device(w.mfa.Serial, w.mfa.Now()), role(w.role.ARN)))
			w.count("GetSessionToken", 2)
		})
	})
}

// TestRevoked: a role in the middle of a chain whose sessions were revoked answers "denied", not "expired". It is entered anew, once for
// all who are behind it; what is valid is kept where that fails, and nothing is asked again of who is denied with a session that is young.
func TestRevoked(t *testing.T) {
	const members = 100
	chain := func(w *world) (sessions *Sessions, accounts []config.Account) {
		for i := range members {
			final := w.home.AddRole(fmt.Sprint("final", i), awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{w.role.ARN}}}})
			accounts = append(accounts, w.ak(func(a *config.Account) { a.Roles = []config.Role{{ARN: w.role.ARN}, {ARN: final.ARN}} }))
		}
		return w.sessions(Options{}), accounts
	}
	all := func(w *world, s *Sessions, accounts []config.Account) (failed int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, a := range accounts {
			wg.Go(func() {
				got, err := s.Open(w.t.Context(), a)
				if err == nil {
					got.Invalidate()
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
	bubble(t, func(t *testing.T, w *world) {
		s, accounts := chain(w)
		if n := all(w, s, accounts); n > 0 {
			t.Fatalf("%d are denied", n)
		}
		time.Sleep(time.Minute)
		w.role.Revoke()
		w.aws.ResetCalls()
		if n := all(w, s, accounts); n != members {
			t.Errorf("%d of %d are denied: a young session is not doubted", n, members)
		}
		w.count("AssumeRole", members)
		time.Sleep(revocationAge)
		w.aws.ResetCalls()
		if n := all(w, s, accounts); n > 0 {
			t.Errorf("%d are denied still", n)
		}
		if n := len(w.calls("AssumeRole")); n > 2*members+1 {
			t.Errorf("%d calls: the role was entered %d times", n, n-2*members)
		}
	})
	bubble(t, func(t *testing.T, w *world) { // those who are denied with good reason
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
			t.Errorf("the role in the middle was entered %d times", len(hub))
		}
	})
	bubble(t, func(t *testing.T, w *world) {
		s, accounts := chain(w)
		all(w, s, accounts[:1])
		hub := w.open(s, accounts[0]).top.prev
		before := retrieve(w, &Session{top: hub})
		time.Sleep(revocationAge)
		w.role.SetTrust() // nobody: it cannot be entered anew
		w.role.Revoke()
		if n := all(w, s, accounts[:1]); n != 1 {
			t.Error("entered")
		}
		if c := retrieve(w, &Session{top: hub}); c.AccessKeyID != before.AccessKeyID {
			t.Error("what is valid was thrown away")
		}
	})
	bubble(t, func(t *testing.T, w *world) { // an MFA session is never given up for it: it costs a code
		s := w.sessions(Options{})
		w.refused(s, w.ak(device(w.mfa.Serial, w.mfa.Now()), role(w.role.ARN+"-absent")), record.AssumeDenied)
		time.Sleep(revocationAge)
		w.refused(s, w.ak(device(w.mfa.Serial, w.mfa.Now()), role(w.role.ARN+"-absent")), record.AssumeDenied)
		w.count("GetSessionToken", 1)
	})
}

// TestRevokedTop: the sessions of the last role were revoked. Who it is can be asked as before, so the first action that was allowed and
// no longer is has the role entered anew: once for all who find out, not for what was never allowed, and not again where it is no help.
func TestRevokedTop(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		final := w.other.AddRole("final", awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{w.role.ARN}}}})
		s := w.open(w.sessions(Options{}), w.ak(role(w.role.ARN)))
		cfg, err := LoadAWS(t.Context(), w.load)
		if err != nil {
			t.Fatal(err)
		}
		call := func(c aws.Credentials) error { // something that needs a permission
			_, err := newSTSClient(cfg).assumeRole(t.Context(), "us-east-1", c, &sts.AssumeRoleInput{RoleArn: &final.ARN, RoleSessionName: aws.String("test")}, new(issuedSession))
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
		if record.ReasonOf(call(old)) != record.AccessDenied || !w.good(s) {
			t.Fatal("a revoked session is denied everything but who it is")
		}
		if w.aws.ResetCalls(); s.Denied(t.Context(), old, action) {
			t.Error("a young session is not doubted")
		}
		time.Sleep(revocationAge)
		if s.Denied(t.Context(), old, never) {
			t.Error("what was never allowed is no sign")
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
		if err := call(fresh); err != nil || strings.Count(w.log.String(), "the role was entered anew") != 1 {
			t.Errorf("%v, log:\n%s", err, w.log.String())
		}
		// It is denied all the same: so somebody has taken the permission away, and that is that.
		s.Denied(t.Context(), fresh, action)
		time.Sleep(revocationAge)
		if s.Denied(t.Context(), fresh, action) {
			t.Error("entered anew, though that was no help the last time")
		}
		w.count("AssumeRole", 2) // with the call above
		s.Allowed(action)
		time.Sleep(revocationAge)
		w.role.SetTrust() // nobody
		w.role.Revoke()
		if s.Denied(t.Context(), retrieve(w, s), action) || retrieve(w, s).AccessKeyID != fresh.AccessKeyID {
			t.Error("what is valid was thrown away for nothing")
		}
	})
}

// TestInstanceRoleLasts: one metadata client and one cache for all accounts behind the instance, for days.
func TestInstanceRoleLasts(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		r := w.home.AddRole("instance", awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{"ec2.amazonaws.com"}}}})
		w.aws.SetIMDS(&awsfake.IMDS{Role: r, Region: "us-east-1", InstanceID: "i-0123456789abcdef0"})
		s := w.sessions(Options{})
		for range 3 * 24 * 4 {
			for _, a := range []config.Account{block(), block(role(w.role.ARN)), block(source("Ec2InstanceMetadata"))} {
				if !w.good(w.open(s, a)) {
					t.Fatal("refused")
				}
			}
			time.Sleep(15 * time.Minute)
		}
	})
}

// TestRefusalIsRepeated: a clear no is given again for a moment without asking, and not for longer.
func TestRefusalIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.sessions(Options{})
		a := w.ak(role("arn:aws:iam::222222222222:role/later"))
		for range 50 {
			w.refused(s, a, record.AssumeDenied)
		}
		w.count("AssumeRole", 1)
		w.other.AddRole("later", awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{w.home.ID}}}})
		time.Sleep(negativeCacheTTL)
		w.open(s, a)
	})
}

// TestClose: nobody is left waiting, and nothing is begun any more.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.sessions(Options{})
		stored := w.open(s, w.ak(role(w.role.ARN)))
		w.aws.Inject(awsfake.Fault{Kind: awsfake.Hang, Service: "sts"})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Open(t.Context(), w.ak()); err == nil {
				t.Error("opened by a hung STS")
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
		if _, err := stored.Retrieve(t.Context()); err != nil {
			t.Errorf("what was valid is gone: %v", err)
		}
		if _, err := s.Open(t.Context(), w.ak(role("arn:aws:iam::222222222222:role/x"))); record.ReasonOf(err) != record.Interrupted {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestIdle: what no run opens for days is forgotten; what is in use is not.
func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.sessions(Options{})
		stored := w.open(s, w.ak())
		w.open(s, w.ak(role(w.role.ARN)))
		for range 5 {
			time.Sleep(idleTimeout / 4)
			if w.open(s, w.ak()).resolver != stored.resolver {
				t.Fatal("a session in use was forgotten")
			}
		}
		w.open(s, block(key(w.other.AddUser("dave").NewKey())))
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.layers) != 2 {
			t.Errorf("%d layers are remembered, want 2", len(s.layers))
		}
	})
}

// TestWindow: renewal begins well before the end, and never in the first half of a session.
func TestWindow(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, left := range []time.Duration{time.Minute, 15 * time.Minute, time.Hour, 36 * time.Hour} {
		for range 200 {
			due := renewalTime(aws.Credentials{CanExpire: true, Expires: at.Add(left)}, at)
			if due.Before(at.Add(left/2)) || due.After(at.Add(left-min(renewalWindow, left/4)/2)) || due.Before(at.Add(left-renewalWindow)) {
				t.Fatalf("of %s, renewal begins after %s", left, due.Sub(at))
			}
		}
	}
}

// TestForget: of a session that is forgotten nothing is kept but what others have behind them or what a code was paid for; whoever
// holds it goes on.
func TestForget(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		hub := w.role
		final := w.other.AddRole("final", awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{hub.ARN, w.home.ID}}}})
		s := w.sessions(Options{})
		empty := len(s.layers)
		two := w.ak(func(a *config.Account) { a.Roles = []config.Role{{ARN: hub.ARN}, {ARN: final.ARN}} })
		held := w.open(s, two)
		s.Forget(t.Context(), two)
		if n := len(s.layers) - empty; n != 1 {
			t.Errorf("%d layers are kept, want that of the role in the middle", n)
		}
		if !w.good(held) {
			t.Error("who held it lost it")
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
