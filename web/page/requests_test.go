package page

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func requestTo(target string) *http.Request { return httptest.NewRequest(http.MethodGet, target, nil) }

func get(t *testing.T, p *Page, target string) *httptest.ResponseRecorder {
	t.Helper()
	return getWith(t, p, target, func(*http.Request) {})
}

func getWith(t *testing.T, p *Page, target string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := requestTo(target)
	change(r)
	w := httptest.NewRecorder()
	muxOf(p).ServeHTTP(w, r)
	return w
}

// gzipped is the size of all assets with this ending, compressed.
func gzipped(t *testing.T, a *assets, ending string) int {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	for url, file := range a.files {
		if strings.HasSuffix(url, ending) {
			if _, err := z.Write(file.text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}
