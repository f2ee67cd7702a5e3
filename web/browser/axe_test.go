package browser

import (
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// Axe finds no violation in any view: in light on a screen and on a phone, in dark on a screen.
func TestAccessibility(t *testing.T) {
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("%v; run npm ci in web/browser", err)
	}
	for theme, sizes := range map[string][][2]int64{ // the themes differ in colors only
		"light": {{width, height}, {phoneWidth, phoneHeight}}, "dark": {{width, height}},
	} {
		t.Run(theme, func(t *testing.T) {
			for name, path := range views(t) {
				t.Run(name, func(t *testing.T) {
					b := newTab(t, width, height)
					b.open("/")
					get(b, chromedp.Evaluate[string](`document.cookie = "theme=`+theme+`;path=/;samesite=strict"`))
					for _, size := range sizes {
						b.resize(size[0], size[1])
						b.open(path)
						for _, violation := range b.violations(string(axe)) {
							t.Errorf("%d wide: %s", size[0], violation)
						}
					}
				})
			}
		})
	}
}

// violations returns what axe finds. It runs in the world of the debugger, so the page's policy allows it.
func (b *tab) violations(axe string) []string {
	b.t.Helper()
	get(b, chromedp.Evaluate[bool](axe+"; true"))
	return get(b, chromedp.Evaluate[[]string](`axe.run().then((r) => r.violations.map((v) => v.id + ": " + v.help + ": " +
		v.nodes.map((n) => n.html + " " + n.failureSummary).slice(0, 3).join("; ")))`, chromedp.EvalAwaitPromise))
}
