package auth

import (
	"strings"
	"testing"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// TestSessionKeys: a block's settings for the role session are sent to STS, and are part of the session's key.
func TestSessionKeys(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	a := w.ak(role(w.role.ARN), func(a *config.Account) {
		a.SourceIdentity, a.SessionTags = "ops", map[string]string{"team": "platform", "cost:center": "0042"}
		a.SessionPolicy = `{"Version":"2012-10-17","Statement":[]}`
	})
	s := w.sessions(Options{})
	w.refused(s, a, record.AssumeDenied, "`session_tags`", "sts:TagSession", "trust policy")
	w.role.SetTrust(awsfake.Trust{Principals: []string{w.home.ID}, SessionTags: true})
	s = w.sessions(Options{})
	w.refused(s, a, record.AssumeDenied, "`source_identity`", "sts:SetSourceIdentity")
	w.role.SetTrust(awsfake.Trust{Principals: []string{w.home.ID}, SessionTags: true, SourceIdentity: true})
	w.aws.ResetCalls()
	s = w.sessions(Options{})
	one := w.open(s, a)
	sent := w.calls("AssumeRole")[0].Params
	for key, want := range map[string]string{
		"SourceIdentity": "ops", "Policy": a.SessionPolicy,
		"Tags.member.1.Key": "cost:center", "Tags.member.1.Value": "0042",
		"Tags.member.2.Key": "team", "Tags.member.2.Value": "platform",
	} {
		if sent[key] != want {
			t.Errorf("%s was sent as %q, want %q", key, sent[key], want)
		}
	}
	for _, edit := range []func(*config.Account){
		func(a *config.Account) { a.SourceIdentity = "dev" },
		func(a *config.Account) { a.SessionTags = map[string]string{"team": "platform"} },
		func(a *config.Account) { a.SessionPolicy = "" },
	} {
		b := a
		edit(&b)
		if w.open(s, b).resolver == one.resolver {
			t.Error("a block with other settings got the same session")
		}
	}
	if w.open(s, a).resolver != one.resolver {
		t.Error("the same block got another session")
	}
}

// TestRequireRole: a block with require_role is not collected as a user, however the user signs in.
func TestRequireRole(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	w.load.ConfigFiles = []string{write(t, "config", "[profile user]\n"+keyLines(w.key))}
	must := func(a *config.Account) { a.RequireRole = true }
	s := w.sessions(Options{})
	w.open(s, w.ak(must, role(w.role.ARN)))
	w.open(s, block(must, profile("user"), role(w.role.ARN)))
	for _, a := range []config.Account{w.ak(must), w.ak(must, seed(w.mfa)), block(must, profile("user"))} {
		w.refused(s, a, record.RoleRequired, "user/alice is not a role", "`require_role: true`")
	}
}

// TestBareAccountID: `account_id` without `role` is taken for the account that the credentials must have.
func TestBareAccountID(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	a := w.ak(func(a *config.Account) { a.AccountID = w.other.ID })
	w.refused(w.sessions(Options{}), a, record.WrongAccount, w.other.ID, "`role: manage-role`")
	role(w.role.ARN)(&a)
	w.open(w.sessions(Options{}), a)
	a.AccountID = w.home.ID
	_, err := w.sessions(Options{}).Open(t.Context(), a)
	if record.ReasonOf(err) != record.WrongAccount || strings.Contains(record.HintOf(err), "manage-role") {
		t.Errorf("%v, hint %q", err, record.HintOf(err))
	}
}
