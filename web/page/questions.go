package page

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws-collector/collector/query"
)

// parse parses the parameters of a question as the API and the command line do.
func (r *request) parse(parameters []query.Parameter, kinds query.Catalogue) (query.Question, error) {
	for i := range parameters {
		r.known[parameters[i].Name] = true
	}
	return query.Parse(r.values, parameters, query.Options{Now: r.now, Kinds: kinds})
}

var errNoText = errors.New("the address is not text in UTF-8")

// badQuestion is the view of a question that cannot be understood.
func badQuestion(err error, back string) content {
	m := message{Heading: "The question is not understood", Text: err.Error(), Back: link{Text: "Without it", URL: back}}
	var e *query.Error
	if errors.As(err, &e) {
		m.Hint = "Correct `" + e.Parameter.Name + "` in the address."
	}
	return content{template: "message.html", title: "Not understood", tab: back, status: http.StatusBadRequest, data: m}
}

// nothingStored is the view of what needs a store.
func nothingStored(tab string) content {
	m := message{
		Heading: "Nothing is stored", Text: "The configuration has store: none.",
		Hint: "Set `store: {type: sqlite}` to keep what the next runs list.", Back: link{Text: "Coverage", URL: "/"},
	}
	return content{template: "message.html", title: "Nothing is stored", tab: tab, status: http.StatusNotFound, data: m}
}

// A sameQuestion is the question of a view at a terminal, and as a URL of the API.
type sameQuestion struct{ Command, API string }

// same returns the question of a view elsewhere: the parameters of the URL as flags, and as those of a route. more are
// further values, by name.
func same(verb, path string, parameters []query.Parameter, r *request, more ...string) sameQuestion {
	values := url.Values{}
	for i := range parameters {
		if v := r.values[parameters[i].Name]; len(v) > 0 {
			values[parameters[i].Name] = v
		}
	}
	for i := 0; i+1 < len(more); i += 2 {
		values[more[i]] = []string{more[i+1]}
	}
	var b strings.Builder
	b.WriteString("collector " + verb)
	for i := range parameters {
		for _, v := range values[parameters[i].Name] {
			if v != "" {
				b.WriteString(" --" + parameters[i].FlagName() + " " + quoted(v))
			}
		}
	}
	return sameQuestion{b.String(), withQuery("/api/v1/"+path, values)}
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./][A-Za-z0-9_@%+=:,./-]*$`)

// quoted quotes a word for a shell.
func quoted(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
