package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web/act"
)

// actsData is what the templates need for the forms of an account: nil if this client may not act.
type actsData struct {
	URL       string // of the account; the verb follows
	Paused    bool
	Running   bool
	NeedsCode bool // an MFA code lets the account sign in, or keeps it signed in
}

// An actRoute is a form of an account's page.
type actRoute struct {
	verb string
	said string // on the page of the account, after it was done
	do   func(p *Page, r *request, who, account string) error
}

// actRoutes are the forms; a check has a view of its own.
func actRoutes() []actRoute {
	return []actRoute{
		{"start", "A run was started.", func(p *Page, r *request, who, account string) error {
			_, err := p.o.Acts.Start(r.Context(), who, account)
			return err
		}},
		{"cancel", "The run is being cancelled.", func(p *Page, r *request, who, account string) error {
			_, err := p.o.Acts.Cancel(r.Context(), who, account)
			return err
		}},
		{"pause", "The schedule is paused.", func(p *Page, r *request, who, account string) error {
			_, err := p.o.Acts.Pause(who, account, r.PostFormValue("note"))
			return err
		}},
		{"resume", "The schedule applies again.", func(p *Page, _ *request, who, account string) error {
			_, err := p.o.Acts.Resume(who, account)
			return err
		}},
		{"mfa", "The MFA session has begun, and a run was started.", (*Page).enterCode},
		{"acknowledge", "The failure is acknowledged.", func(p *Page, r *request, who, account string) error {
			_, err := p.o.Acts.Acknowledge(who, account, act.Failure{
				Reason: record.Reason(r.PostFormValue("reason")), Region: r.PostFormValue("region"),
				Kind: r.PostFormValue("kind"), Note: r.PostFormValue("note"),
			})
			return err
		}},
	}
}

// enterCode begins an MFA session, and a run with it: who enters a code waits for the account.
func (p *Page) enterCode(r *request, who, account string) error {
	if _, err := p.o.Acts.MFA(r.Context(), who, account, r.PostFormValue("code")); err != nil {
		return err
	}
	if _, err := p.o.Acts.Start(r.Context(), who, account); act.StatusOf(err) != http.StatusConflict {
		return err
	}
	return nil // the run in progress uses the session, or the next one does
}

// said returns what the account's page says after an act.
func (r *request) said() string {
	words := []string{""}
	for _, a := range actRoutes() {
		words = append(words, a.verb)
	}
	done := r.oneOf("done", words...)
	for _, a := range actRoutes() {
		if a.verb == done {
			return a.said
		}
	}
	return ""
}

// acts returns the forms of an account for a client who may act, or nil.
func (p *Page) acts(r *request, a *account, targets []board.TargetInfo) *actsData {
	if !p.mayAct(r) {
		return nil
	}
	d := &actsData{
		URL: accountURL(a.Name), Paused: a.Paused != nil, Running: len(a.Running) > 0, NeedsCode: !a.Expires.IsZero(),
	}
	d.NeedsCode = d.NeedsCode || slices.ContainsFunc(targets, func(t board.TargetInfo) bool {
		return t.Reason == record.MFANeeded || t.Reason == record.MFAInvalid
	})
	return d
}

func (p *Page) mayAct(r *request) bool {
	if p.o.Acts == nil {
		return false
	}
	_, err := p.o.Actor(r.Request)
	return err == nil
}

// handleAct serves a form: it acts, and sends the browser back to the account. An error is a view.
func (p *Page) handleAct(a actRoute) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, account := newRequest(r, time.Now()), r.PathValue("name")
		who, err := p.actor(req)
		if err == nil {
			err = a.do(p, req, who, account)
			p.coverages.forget() // who acts sees it
		}
		if err != nil {
			p.answer(w, req, refused(err, account))
			return
		}
		http.Redirect(w, r, accountURL(account)+"?done="+url.QueryEscape(a.verb), http.StatusSeeOther)
	}
}

// actor returns who acts with a form.
func (p *Page) actor(r *request) (string, error) {
	who, err := p.o.Actor(r.Request)
	if err != nil {
		return "", &act.Error{Status: http.StatusForbidden, Hint: record.HintOf(err), Err: err}
	}
	if !query.IsText(r.URL.Path) {
		return "", &act.Error{Status: http.StatusBadRequest, Err: errors.New("the address is not text in UTF-8")}
	}
	if err := r.ParseForm(); err != nil {
		return "", &act.Error{Status: http.StatusBadRequest, Err: fmt.Errorf("the form: %w", err)}
	}
	return who, nil
}

// refused is the view of an act that was not done.
func refused(err error, account string) content {
	return content{template: "message.html", title: "Not done", tab: "/", status: act.StatusOf(err), data: message{
		Heading: "That was not done", Text: shorten(err.Error(), 600), Hint: act.HintOf(err),
		Back: link{Text: shorten(account, 60), URL: accountURL(account)},
	}}
}

// A checkResult is the result of a check as the JSON of the command has it.
type checkResult struct {
	Account   string
	Status    record.Status
	AccountID string `json:"account_id"`
	ARN       string
	Path      []string
	Reason    record.Reason
	Error     string
	Hint      string
	Regions   []struct{ Region, Status string }
	Tried     []struct {
		Region, Kind string
		State        record.State
		Expected     bool
		Reason       record.Reason
		Error, Hint  string
	}
	Warnings []string
	Grant    json.RawMessage
}

// checkData is what the view of a check shows.
type checkData struct {
	checkResult
	Ended   statusInfo
	Allowed int // targets that were tried and may be listed
	Causes  []causeView
	Policy  string // that grants what is denied
	Back    link
}

// handleCheck serves the form of a check, whose result is the answer.
func (p *Page) handleCheck(w http.ResponseWriter, r *http.Request) {
	req, account := newRequest(r, time.Now()), r.PathValue("name")
	who, err := p.actor(req)
	var result map[string]any
	if err == nil {
		result, err = p.o.Acts.Check(r.Context(), who, account)
	}
	var d checkData
	if err == nil {
		err = d.decode(result, req.now)
	}
	if err != nil {
		p.answer(w, req, refused(err, account))
		return
	}
	d.Back = link{Text: "Back to " + shorten(account, 60), URL: accountURL(account)}
	p.answer(w, req, content{template: "check.html", title: "Check of " + shorten(account, 80), tab: "/", data: d})
}

// decode reads the result of a check, and groups what fails as the page groups failures.
func (d *checkData) decode(result map[string]any, now time.Time) error {
	text, err := json.Marshal(result)
	if err == nil {
		err = json.Unmarshal(text, &d.checkResult)
	}
	if err != nil {
		return fmt.Errorf("the result of the check: %w", err)
	}
	d.Ended = statusOf(d.Status)
	causes := newCauses()
	add := func(o record.Outcome) { causes.add(board.TargetInfo{Outcome: o}) }
	if d.Error != "" {
		add(record.Outcome{
			Target: record.Target{Account: d.Account}, State: record.Error, Reason: d.Reason, Error: d.Error, Hint: d.Hint,
		})
	}
	for _, t := range d.Tried {
		o := record.Outcome{
			Target: record.Target{Account: d.Account, Region: t.Region, Kind: t.Kind}, State: t.State, Reason: t.Reason,
			Error: t.Error, Hint: t.Hint, Expected: t.Expected,
		}
		if o.Failed() {
			add(o)
		} else if o.State == record.OK {
			d.Allowed++
		}
	}
	for _, c := range causes.sorted() {
		v := c.view(now)
		v.Accounts, v.OfRun, v.Effect = nil, true, strings.TrimSuffix(v.Effect, " Nothing has been seen there yet.")
		d.Causes = append(d.Causes, v)
	}
	if len(d.Grant) > 0 {
		indented, err := json.MarshalIndent(d.Grant, "", "  ")
		if err != nil {
			return fmt.Errorf("the policy of the check: %w", err)
		}
		d.Policy = string(indented)
	}
	return nil
}
