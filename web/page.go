package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"runtime"
	"time"

	"github.com/aws-collector/collector/runner"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// A page is the page at /: the accounts and the states of their targets. It is HTML with an inline style sheet; it uses
// no script and loads nothing.
type page struct {
	template *template.Template
	version  string
	policy   string // the Content-Security-Policy, which allows only this page
}

// maxFailuresShown is how many failed targets the page lists.
const maxFailuresShown = 200

func newPage(version string) (*page, error) {
	funcs := template.FuncMap{"when": when, "ago": ago, "until": until, "duration": roundDuration}
	t, err := template.New("page").Funcs(funcs).Parse(pageHTML)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(pageCSS))
	styleHash := base64.StdEncoding.EncodeToString(sum[:])
	policy := "default-src 'none'; style-src 'sha256-" + styleHash + "'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return &page{template: t, version: version, policy: policy}, nil
}

func (p *page) render(status StatusSource, notReady []string, now time.Time) ([]byte, error) {
	v := struct {
		CSS       template.CSS
		Version   string
		Go        string
		Now       time.Time
		NotReady  []string
		Accounts  []accountRow
		Failed    []runner.TargetInfo
		MoreFails int
	}{
		CSS:     template.CSS(pageCSS), //nolint:gosec // our own file
		Version: p.version, Go: runtime.Version(), Now: now, NotReady: notReady,
	}
	v.Accounts, v.Failed, v.MoreFails = summary(status, maxFailuresShown)
	var b bytes.Buffer
	err := p.template.Execute(&b, v)
	return b.Bytes(), err
}

// when formats an instant for machines; the page shows a relative time to people.
func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func ago(now, t time.Time) string { return roundDuration(now.Sub(t)) + " ago" }

func until(now, t time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return "in " + roundDuration(t.Sub(now))
}

// roundDuration formats a duration for people, rounded to one or two units.
func roundDuration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
