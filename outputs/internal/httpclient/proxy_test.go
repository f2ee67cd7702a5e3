package httpclient

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// The error of net/http contains the address of a proxy that is not a URL, with its password.
func TestInvalidProxyURL(t *testing.T) {
	o := Defaults()
	o.URL = "http://192.0.2.1/"
	c, err := New(&o, "")
	if err != nil {
		t.Fatal(err)
	}
	c.Transport.Proxy = func(*http.Request) (*url.URL, error) {
		return nil, errors.New(`invalid proxy address "http://u:pa%ss@proxy": parse: invalid URL escape "%ss"`)
	}
	if _, err := c.post(t.Context(), nil, nil); err == nil || strings.Contains(err.Error(), "pa%ss") ||
		!strings.Contains(err.Error(), "the proxy's address is not a URL") {
		t.Error(err)
	}
}
