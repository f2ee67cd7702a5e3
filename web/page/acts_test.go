package page

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/web/act"
)

// A fakeEngine remembers what it was asked.
type fakeEngine struct {
	runs []string
	busy bool
	code string
}

func (e *fakeEngine) Start(_ context.Context, account string) (string, error) {
	if e.busy {
		return "", runner.ErrBusy
	}
	e.runs = append(e.runs, account)
	return "01JD", nil
}

func (e *fakeEngine) Cancel(context.Context, string, error) (runs []string, err error) {
	runs, e.runs = e.runs, nil
	return runs, nil
}

// acting is a page whose clients may act if they are alice. The account prod is denied its volumes, ops needs a code.
func acting(f *fixture) (*Page, *fakeEngine, *runner.Directives) {
	f.t.Helper()
	e := &fakeEngine{}
	directives, err := runner.OpenDirectives("", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	conf := &runner.Configuration{Directives: directives}
	f.account("prod", "222222222222", "us-east-1")
	f.account("ops", "333333333333", "us-east-1")
	f.board.Observe(runner.Configured{Kinds: f.kinds, Configuration: conf})
	f.ended("prod", "us-east-1", "ec2_volume", denied)
	f.ended("prod", "us-east-1", "ec2_instance", throttled)
	f.ended("ops", "us-east-1", "ec2_instance", signInFailed)
	acts := act.New(act.Options{
		Engine: e, Board: f.board, Directives: directives,
		Check: func(_ context.Context, account string) (map[string]any, error) {
			return map[string]any{
				"account": account, "status": record.RunPartial, "account_id": "222222222222", "arn": "arn:<b>x</b>",
				"path": []string{"ak AKIA…MPLE"}, "warnings": []string{"the key is <i>old</i>"},
				"regions": []map[string]any{{"region": "us-east-1", "status": "enabled"},
					{"region": "ap-east-1", "status": "not_opted_in"}},
				"tried": []map[string]any{
					{"region": "us-east-1", "kind": "ec2_instance", "state": "ok"},
					{"region": "us-east-1", "kind": "ec2_volume", "state": "denied", "reason": "access_denied",
						"error": "UnauthorizedOperation", "hint": "Allow ec2:DescribeVolumes."},
				},
				"grant": map[string]any{"Effect": "Allow", "Action": []string{"ec2:DescribeVolumes"}},
			}, nil
		},
		Login: func(_ context.Context, account, code string) (act.Session, error) {
			if e.code = code; code == "000000" {
				return act.Session{}, &record.Fault{Reason: record.MFAInvalid, Hint: "Wait.", Err: errors.New("code <b>refused")}
			}
			return act.Session{Account: account, Expires: time.Now()}, nil
		},
	})
	return f.page(func(o *Options) {
		o.Acts = acts
		o.Accounts = func() query.Accounts { return query.Accounts{Configuration: conf, Tags: f.tags} }
		o.Actor = func(r *http.Request) (string, error) {
			if who := r.Header.Get("User-Agent"); who == "alice" {
				return who, nil
			}
			return "", &record.Fault{Reason: record.Other, Hint: "Ask alice.", Err: errors.New("you may not act")}
		}
	}), e, directives
}

func as(who string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("User-Agent", who) }
}

// post sends a form as a browser does.
func post(t *testing.T, p *Page, who, path string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	as(who)(r)
	w := httptest.NewRecorder()
	muxOf(p).ServeHTTP(w, r)
	return w
}

// viewAs returns a view as somebody gets it.
func viewAs(t *testing.T, p *Page, who, target string) string {
	t.Helper()
	w := getWith(t, p, target, as(who))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	checkHTML(t, p, target, w.Body.String())
	return w.Body.String()
}

// Forms are shown to those who may act, and to nobody else.
func TestFormsAreForThoseWhoMayAct(t *testing.T) {
	p, _, _ := acting(newFixture(t))
	requireAll(t, viewAs(t, p, "alice", "/accounts/prod"), `action="/accounts/prod/start"`,
		`action="/accounts/prod/check"`,
		`action="/accounts/prod/pause"`, `action="/accounts/prod/acknowledge"`, `value="access_denied"`)
	requireAll(t, viewAs(t, p, "alice", "/accounts/ops"), `id="code"`, `autocomplete="one-time-code"`,
		`action="/accounts/ops/mfa"`)
	requireAll(t, viewAs(t, p, "alice", "/"), `href="/accounts/ops#code">Enter MFA code`)
	for _, target := range []string{"/", "/accounts/prod", "/accounts/ops"} {
		if text := viewAs(t, p, "bob", target); strings.Contains(text, `method="post"`) || strings.Contains(text, "#code") {
			t.Errorf("%s has a form for somebody who may not act", target)
		}
	}
	if text := viewAs(t, p, "alice", "/accounts/prod"); strings.Contains(text, "/mfa") {
		t.Error("an account that needs no code has its form")
	}
}

// A run that somebody started has a view before the store has it.
func TestStartedRun(t *testing.T) {
	p, _, _ := acting(newFixture(t))
	p.o.Store = &fakeStore{}
	post(t, p, "alice", "/accounts/prod/start", nil)
	requireAll(t, viewAs(t, p, "bob", "/runs/01JD"), "In progress", "not yet: it waits for other runs", "prod")
}

// Each form acts, sends the browser back, and the account's page says what was done. Without a right, or with an error,
// the answer says why.
func TestForms(t *testing.T) {
	p, e, directives := acting(newFixture(t))
	done := func(verb, said string, form url.Values) {
		t.Helper()
		account := "prod"
		if verb == "mfa" {
			account = "ops"
		}
		w := post(t, p, "alice", "/accounts/"+account+"/"+verb, form)
		if back := w.Header().Get("Location"); w.Code != http.StatusSeeOther || back != "/accounts/"+account+"?done="+verb {
			t.Errorf("%s: %d to %q: %s", verb, w.Code, back, w.Body)
		} else {
			requireAll(t, viewAs(t, p, "alice", back), said)
		}
	}
	done("start", "A run was started.", nil)
	done("cancel", "The run is being cancelled.", nil)
	done("pause", "The schedule is paused</b> by alice", url.Values{"note": {"<b>migration</b>"}})
	if n := strings.Count(viewAs(t, p, "alice", "/accounts/prod?done=pause"), "The schedule is paused"); n != 1 {
		t.Errorf("the page says %d times that the schedule is paused", n)
	}
	requireAll(t, viewAs(t, p, "bob", "/accounts/prod"), "&lt;b&gt;migration&lt;/b&gt;",
		`<span class="chip">paused</span>`)
	requireAll(t, viewAs(t, p, "alice", "/accounts/prod"), `action="/accounts/prod/resume"`, "<dd>paused</dd>")
	requireAll(t, viewAs(t, p, "alice", "/?show=all"), `<td class="wide-only quiet">paused</td>`)
	done("resume", "The schedule applies again.", nil)
	done("mfa", "The MFA session has begun, and a run was started.", url.Values{"code": {"123456"}})
	if e.code != "123456" || len(e.runs) != 1 || e.runs[0] != "ops" {
		t.Errorf("code %s, runs %v", e.code, e.runs)
	}
	e.busy = true
	done("mfa", "The MFA session has begun", url.Values{"code": {"123456"}})
	done("acknowledge", "The failure is acknowledged.",
		url.Values{"reason": {"access_denied"}, "kind": {"ec2_volume"}, "note": {"ticket <4711>"}})
	requireAll(t, viewAs(t, p, "bob", "/accounts/prod"), "Acknowledged by alice", "ticket &lt;4711&gt;")

	for _, c := range []struct {
		who, path string
		form      url.Values
		status    int
		says      string
	}{
		{"bob", "/accounts/prod/start", nil, 403, "you may not act"},
		{"bob", "/accounts/prod/check", nil, 403, "Ask alice."},
		{"bob", "/accounts/ops/mfa", url.Values{"code": {"123456"}}, 403, "you may not act"},
		{"alice", "/accounts/prod/start", nil, 409, "an earlier run is still in progress"},
		{"alice", "/accounts/ops/mfa", url.Values{"code": {"000000"}}, 422, "code &lt;b&gt;refused"},
		{"alice", "/accounts/ops/mfa", nil, 400, "a code has 6 digits"},
		{"alice", "/accounts/prod/acknowledge", url.Values{"reason": {"<x>"}}, 404, "access_denied"},
		{"alice", "/accounts/prod/pause", url.Values{"note": {strings.Repeat("x", 300)}}, 400, "at most 200"},
		{"alice", "/accounts/" + url.PathEscape("<script>") + "/resume", nil, 404, "&lt;script&gt;"},
		{"alice", "/accounts/%ff/start", nil, 400, "not text in UTF-8"},
	} {
		w := post(t, p, c.who, c.path, c.form)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s %s: %d %s", c.who, c.path, w.Code, w.Body)
		}
		if c.form != nil && strings.Contains(w.Body.String(), c.form.Get("code")) && c.form.Get("code") != "" {
			t.Errorf("%s: the answer has the code", c.path)
		}
	}
	if directives.Paused("prod") != nil {
		t.Error("a refused pause is in force")
	}
	requireAll(t, viewAs(t, p, "alice", "/accounts/prod?done=nonsense"), "Not understood in the address", "done=nonsense")
}

// The result of a check is the answer: what may be listed, what may not, and the statement that grants it.
func TestCheckView(t *testing.T) {
	p, _, _ := acting(newFixture(t))
	w := post(t, p, "alice", "/accounts/prod/check", nil)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	checkHTML(t, p, "check", w.Body.String())
	requireAll(t, w.Body.String(), "Check of prod", "Partial", "arn:&lt;b&gt;x", "&lt;i&gt;old", "ap-east-1 (not enabled)",
		"1 of 2 kinds and regions", "Access denied", "Allow ec2:DescribeVolumes.", "&#34;Effect&#34;: &#34;Allow&#34;")
}

// An acknowledged cause comes last, whatever its weight, until the failure changes.
func TestAcknowledgedCausesComeLast(t *testing.T) {
	f := newFixture(t)
	p, _, directives := acting(f)
	order := func() string {
		text := viewAs(t, p, "bob", "/accounts/prod")
		if strings.Index(text, "<h3>Access denied") < strings.Index(text, "<h3>Throttled") {
			return "denied first"
		}
		return "throttled first"
	}
	if got := order(); got != "denied first" {
		t.Error("before:", got)
	}
	if err := directives.Acknowledge(runner.Acknowledgement{Account: "prod", Reason: record.AccessDenied,
		Directive: runner.Directive{By: "alice", At: time.Now()}}, nil); err != nil {
		t.Fatal(err)
	}
	p.coverages.forget()
	if got := order(); got != "throttled first" {
		t.Error("acknowledged:", got)
	}
	requireAll(t, viewAs(t, p, "bob", "/"), "1 of 2 accounts is not collected in full and needs you", // ops
		"1 tries again by itself", "<b>1</b> retrying")
	for account, reason := range map[string]record.Reason{"prod": record.Throttling, "ops": record.MFANeeded} {
		if err := directives.Acknowledge(runner.Acknowledgement{Account: account, Reason: reason,
			Directive: runner.Directive{By: "alice", At: time.Now()}},
			func(*runner.Acknowledgement) bool { return false }); err != nil {
			t.Fatal(err)
		}
	}
	p.coverages.forget()
	requireAll(t, viewAs(t, p, "bob", "/"), "Nothing needs you; what fails is acknowledged", "<b>2</b> acknowledged")
	f.now = f.now.Add(2 * time.Hour) // it was complete after that, and fails again
	f.ended("prod", "us-east-1", "ec2_volume", denied)
	p.coverages.forget()
	if got := order(); got != "denied first" {
		t.Error("it came back:", got)
	}
}
