package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/web/act"
)

// A fakeEngine starts and cancels runs that do not exist.
type fakeEngine struct {
	busy, stopped bool
	runs          []string
	cause         error
	code          string
	begun, block  chan struct{} // a check says that it has begun, and waits
}

func (e *fakeEngine) Start(_ context.Context, account string) (string, error) {
	switch {
	case e.stopped:
		return "", runner.ErrNotRunning
	case e.busy:
		return "", fmt.Errorf("account %q: %w", account, runner.ErrBusy)
	}
	e.runs = append(e.runs, "01JDSTARTED")
	return "01JDSTARTED", nil
}

func (e *fakeEngine) Cancel(_ context.Context, _ string, cause error) (runs []string, err error) {
	runs, e.runs, e.cause = e.runs, nil, cause
	return runs, nil
}

func (e *fakeEngine) check(ctx context.Context, account string) (map[string]any, error) {
	if e.block != nil {
		e.begun <- struct{}{}
		<-e.block
	}
	return map[string]any{"account": account, "status": record.Success}, context.Cause(ctx)
}

func (e *fakeEngine) login(_ context.Context, account, code string) (act.Session, error) {
	if e.code = code; code == "000000" {
		return act.Session{}, &record.Fault{
			Reason: record.MFAInvalid, Hint: "Wait for the next code.", Err: fmt.Errorf("account %q: code refused", account),
		}
	}
	return act.Session{Account: account, Device: "arn:aws:iam::1:mfa/ops", Expires: time.Now().Add(time.Hour).UTC()}, nil
}

// act posts to a path below Prefix as somebody.
func (fx *fixture) act(path, who, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	fx.Helper()
	r := httptest.NewRequestWithContext(fx.Context(), http.MethodPost, Prefix+path, strings.NewReader(body))
	r.Header.Set("User-Agent", who)
	r.Header.Set("Content-Type", typeJSON)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	fx.api.ServeHTTP(w, r)
	return w
}

// Each act does what it says, is refused for a reason that a client can show, and is logged with who.
func TestActs(t *testing.T) {
	fx := newFixture(t)
	for _, c := range []struct {
		path, body string
		status     int
		contains   string // of the answer
	}{
		{"accounts/prod/cancel", "", 409, "no run is in progress"},
		{"accounts/prod/run", "", 202, `{"run":"01JDSTARTED"}`},
		{"accounts/prod/cancel", "", 202, `{"runs":["01JDSTARTED"]}`},
		{"accounts/prod/pause", `{"note":"migration"}`, 200, `"by":"alice"`},
		{"accounts/prod/pause", "", 200, `"note":"migration"`}, // it stays as it is
		{"accounts/prod/resume", "", 200, `{"account":"prod","paused":null}`},
		{"accounts/prod/check", "", 200, `"status":"success"`},
		{"accounts/prod/mfa", `{"code":" 123456 "}`, 200, `"device":"arn:aws:iam::1:mfa/ops"`},
		{"accounts/prod/mfa", `{"code":"000000"}`, 422, `"hint":"Wait for the next code."`},
		{"accounts/prod/mfa", `{"code":"12345"}`, 400, "a code has 6 digits, got 5 characters"},
		{"accounts/prod/mfa", "", 400, "got 0 characters"},
		{"accounts/prod/acknowledge", `{"reason":"access_denied","note":"ticket 4711"}`, 200, `"region":"","kind":""`},
		{"accounts/prod/acknowledge", `{"reason":"access_denied","kind":"volume"}`, 200, `"kind":"ec2_volume"`},
		{"accounts/prod/acknowledge", `{"reason":"throttled"}`, 404, "Its listings fail with: access_denied."},
		{"accounts/prod/acknowledge", `{"reason":"access_denied","region":"eu-west-1"}`, 404, "no listing fails for this"},
		{"accounts/test/acknowledge", `{"reason":"access_denied"}`, 404, "No listing of the account fails."},
		{"accounts/prod/pause", `{"note":"` + strings.Repeat("ä", 201) + `"}`, 400, "the note has 201 characters"},
		{"accounts/nobody/run", "", 404, `no account has the name \"nobody\"`},
		{"accounts/%1b%5b2J%e2%80%ae/pause", "", 404, "no account has the name"},
		{"accounts/" + strings.Repeat("n", 5000) + "/resume", "", 404, "no account has the name"},
		{"accounts/a%ff/run", "", 400, "is not text in UTF-8"},
		{"accounts/prod/run?now=true", "", 400, "an act takes no parameters in the URL"},
		{"accounts/prod/pause", `{"nte":"x"}`, 400, `unknown field \"nte\"`},
		{"accounts/prod/pause", `{} {}`, 400, "something follows the JSON value"},
		{"accounts/prod/pause", `{`, 400, "unexpected EOF"},
		{"accounts/prod/mfa", `{"code":123456}`, 400, "the body: cannot unmarshal number"},
	} {
		w := fx.act(c.path, "alice", c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.contains) {
			t.Errorf("%.80s %.80s: %d %s, want %d %s", c.path, c.body, w.Code, w.Body, c.status, c.contains)
		}
	}
	if record.ReasonOf(fx.engine.cause) != record.Interrupted || !strings.Contains(fx.engine.cause.Error(), "by alice") {
		t.Errorf("cancelled with %v", fx.engine.cause)
	}
	log := fx.log.String()
	for _, want := range []string{
		`msg="act done" act=start by=alice account=prod run=01JDSTARTED`, "act=cancel by=alice", "act=pause by=alice",
		"act=resume by=alice", "act=check by=alice account=prod status=success", "act=mfa by=alice",
		"act=acknowledge by=alice", `msg="act refused or failed" act=start by=alice account=nobody`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("not in the log: %s\n%s", want, log)
		}
	}
	for _, secret := range []string{"123456", "000000"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has the code %s", secret)
		}
	}
}

// Whoever may not act gets 403 with a hint, from every act, and nothing happens.
func TestActsRefuseOthers(t *testing.T) {
	fx := newFixture(t)
	for _, rt := range acts() {
		w := fx.act(rt.example, "", "")
		var p problem
		fx.must(json.Unmarshal(w.Body.Bytes(), &p))
		if w.Code != http.StatusForbidden || p.Detail != "nobody acts from there" || p.Hint != "Come here." {
			t.Errorf("%s: %d %s", rt.path, w.Code, w.Body)
		}
		if w := fx.ask(rt.example, "User-Agent", "alice"); w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Errorf("GET %s: %d", rt.path, w.Code)
		}
	}
	if len(fx.engine.runs) != 0 || fx.log.Len() != 0 {
		t.Errorf("runs %v, log %s", fx.engine.runs, &fx.log)
	}
}

// A form of another site cannot send the body of an act, and a body has a bound.
func TestBodiesOfActs(t *testing.T) {
	fx := newFixture(t)
	w := fx.act("accounts/prod/pause", "alice", `{"note":"x"}`, func(r *http.Request) {
		r.Header.Set("Content-Type", "text/plain")
	})
	if w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("text: %d %s", w.Code, w.Body)
	}
	w = fx.act("accounts/prod/pause", "alice", `{"note":"`+strings.Repeat("x", 4<<10)+`"}`, func(r *http.Request) {
		r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, 1<<10)
	})
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %d %s", w.Code, w.Body)
	}
}

// The overlap rule and the end of the program refuse a run, with a status that a program can tell apart.
func TestRunRefused(t *testing.T) {
	fx := newFixture(t)
	fx.engine.busy = true
	if w := fx.act("accounts/prod/run", "alice", ""); w.Code != 409 || !strings.Contains(w.Body.String(), "or cancel it") {
		t.Errorf("busy: %d %s", w.Code, w.Body)
	}
	fx.engine.stopped = true
	if w := fx.act("accounts/prod/run", "alice", ""); w.Code != 503 || w.Header().Get("Location") != "" {
		t.Errorf("stopped: %d %s", w.Code, w.Body)
	}
}

// A run that somebody started is known before it begins, and until the store has it.
func TestStartedRunIsKnown(t *testing.T) {
	fx := newFixture(t)
	w := fx.act("accounts/prod/run", "alice", "")
	path := strings.TrimPrefix(w.Header().Get("Location"), Prefix)
	run := get[query.RunLine](fx, path)
	if run.Started != nil || run.Status != record.RunRunning || run.Account != "prod" {
		t.Errorf("before it begins: %+v", run)
	}
	fx.board.Observe(runner.RunStarted{Account: "prod", Run: "01JDSTARTED"})
	if run := get[query.RunLine](fx, path); run.Started == nil || run.Status != record.RunRunning {
		t.Errorf("when it begins: %+v", run)
	}
	fx.board.Observe(runner.RunEnded{Account: "prod", Run: "01JDSTARTED", Status: record.Success})
	if w := fx.ask(path); w.Code != http.StatusNotFound {
		t.Errorf("a run that has ended and that the store does not have: %d %s", w.Code, w.Body)
	}
}

// One check of an account runs at a time; another account is checked meanwhile.
func TestOneCheckAtATime(t *testing.T) {
	fx := newFixture(t)
	fx.engine.begun, fx.engine.block = make(chan struct{}), make(chan struct{})
	first := make(chan int)
	go func() { first <- fx.act("accounts/prod/check", "alice", "").Code }()
	<-fx.engine.begun
	if w := fx.act("accounts/prod/check", "bob", ""); w.Code != http.StatusConflict {
		t.Errorf("a second check: %d %s", w.Code, w.Body)
	}
	other := make(chan int)
	go func() { other <- fx.act("accounts/test/check", "bob", "").Code }()
	<-fx.engine.begun
	close(fx.engine.block)
	if a, b := <-first, <-other; a != http.StatusOK || b != http.StatusOK {
		t.Errorf("the checks of two accounts: %d, %d", a, b)
	}
	fx.engine.block = nil
	if w := fx.act("accounts/prod/check", "bob", ""); w.Code != http.StatusOK {
		t.Errorf("a check after it: %d %s", w.Code, w.Body)
	}
}

// A pause and an acknowledgement show where a person or a program looks, until they end.
func TestDirectivesAreShown(t *testing.T) {
	fx := newFixture(t)
	fx.act("accounts/prod/pause", "alice", `{"note":"migration"}`)
	fx.act("accounts/prod/acknowledge", "bob", `{"reason":"access_denied","kind":"ec2_volume"}`)
	a := get[accountDetails](fx, "accounts/prod")
	if a.Paused == nil || a.Paused.By != "alice" || a.Paused.Note != "migration" {
		t.Errorf("paused: %+v", a.Paused)
	}
	for _, l := range get[accountDetails](fx, "accounts/prod").Problems {
		if !l.Paused || l.Overdue != 0 {
			t.Errorf("coverage of a paused account: %+v", l)
		}
	}
	acknowledged := func() (by []string) {
		for _, l := range get[accountDetails](fx, "accounts/prod").Problems {
			for _, f := range l.Failed {
				if f.Acknowledged != nil {
					by = append(by, l.Region+" "+f.Kind+" "+f.Acknowledged.By)
				}
			}
		}
		return by
	}
	if by := acknowledged(); len(by) != 1 || by[0] != "us-east-1 ec2_volume bob" {
		t.Errorf("acknowledged: %v", by)
	}
	fx.act("accounts/prod/resume", "alice", "")
	if a := get[accountDetails](fx, "accounts/prod"); a.Paused != nil {
		t.Errorf("resumed, and paused by %+v", a.Paused)
	}
}
