package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
)

// Every command of docs/api.md is answered, with rows where there are any.
func TestDocumentedCommands(t *testing.T) {
	fx := newFixture(t)
	text, err := os.ReadFile("../../docs/api.md")
	fx.must(err)
	named := strings.NewReplacer("at=7d", "at=0s", "i-0123456789abcdef0", "i-3", "01JDEXAMPLE0000000000000000", fx.runs[1])
	n := 0
	for line := range strings.Lines(string(text)) {
		command, isCommand := strings.CutPrefix(strings.TrimSpace(line), "curl ")
		if !isCommand {
			continue
		}
		n++
		c := parseCurl(t, named.Replace(command))
		if c.method == http.MethodPost {
			if w := fx.act(c.path, "alice", c.body); w.Code >= 300 {
				t.Errorf("%s: %d %s", command, w.Code, w.Body)
			}
			continue
		}
		path, accept := c.path, c.accept
		if accept == typeEvents || path == "events" {
			c, stop := fx.events(path)
			c.next()
			stop()
			continue
		}
		w := fx.ask(path, "Accept", accept)
		if w.Code != http.StatusOK || strings.HasPrefix(w.Body.String(), `{"items":[]`) || w.Body.Len() < 40 {
			t.Errorf("%s: %d %s", command, w.Code, w.Body)
		}
	}
	if n < 15 {
		t.Errorf("the page has %d commands", n)
	}
}

// A curlCommand is a request of the page.
type curlCommand struct{ method, path, accept, body string }

// parseCurl reads the options that the page uses.
func parseCurl(t *testing.T, command string) (c curlCommand) {
	t.Helper()
	c.method = http.MethodGet
	var words []string
	for i, part := range strings.Split(command, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	data := url.Values{}
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case word == "-s" || word == "-sN" || word == "-sG":
		case word == "-X":
			i++
			c.method = words[i]
		case word == "-H":
			i++
			if accept, ok := strings.CutPrefix(words[i], "Accept: "); ok {
				c.accept = accept
			}
		case word == "-d" && c.method == http.MethodPost:
			i++
			c.body = words[i]
		case word == "-d" || word == "--data-urlencode":
			i++
			name, value, _ := strings.Cut(words[i], "=")
			data.Add(name, value)
		default:
			c.path = word
		}
	}
	if len(data) > 0 {
		c.path += "?" + data.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), c.method, c.path, nil)
	if err != nil || r.Host != "127.0.0.1:9420" {
		t.Fatalf("%s: %v", command, err)
	}
	c.path = strings.TrimPrefix(httptest.NewRequest(http.MethodGet, c.path, nil).URL.RequestURI(), Prefix)
	return c
}
