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
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// A page is the one at /: accounts and how their targets stand. It is HTML and one style sheet inside it; no script, and
// nothing from elsewhere.
type page struct {
	template *template.Template
	version  string
	policy   string // the Content-Security-Policy under which it works, and nothing else does
}

// maxFailuresShown is how many failed targets the page lists.
const maxFailuresShown = 200

func newPage(version string) (*page, error) {
	t, err := template.New("page").Funcs(template.FuncMap{"when": when, "ago": ago, "until": until, "about": roundDuration}).Parse(pageHTML)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(pageCSS))
	return &page{template: t, version: version, policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}, nil
}

func (p *page) render(live StatusSource, notReady []string, now time.Time) ([]byte, error) {
	v := struct {
		CSS       template.CSS
		Version   string
		Go        string
		Now       time.Time
		NotReady  []string
		Accounts  []accountRow
		Failed    []Target
		MoreFails int
	}{CSS: template.CSS(pageCSS), Version: p.version, Go: runtime.Version(), Now: now, NotReady: notReady} //nolint:gosec // our own file
	v.Accounts, v.Failed, v.MoreFails = summary(live, maxFailuresShown)
	var b bytes.Buffer
	err := p.template.Execute(&b, v)
	return b.Bytes(), err
}

// when is an instant for a machine; beside it stands one for a person.
func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func ago(now, t time.Time) string { return roundDuration(now.Sub(t)) + " ago" }

func until(now, t time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return "in " + roundDuration(t.Sub(now))
}

// roundDuration rounds a duration to what a person would say.
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
