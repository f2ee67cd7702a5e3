package inventory

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// SearchText is the text that [Query.Search] looks through: the id, the name, the keys and values of tags, and the
// addresses and DNS names in a resource's data, a line each.
func SearchText(id, name string, tags, data []byte) string {
	lines := make([]string, 0, 16)
	add := func(text []byte) {
		if len(text) > 0 && !slices.Contains(lines, string(text)) {
			lines = append(lines, string(text))
		}
	}
	add([]byte(id))
	add([]byte(name))
	eachText(tags, func(member, text []byte) {
		add(member)
		add(text)
	})
	eachText(data, func(member, text []byte) {
		if isAddress(string(member), text) {
			add(text)
		}
	})
	return strings.Join(lines, "\n")
}

// eachText calls f with every text in a JSON document and the name of its member, or of the last member before it. The
// document is valid JSON.
func eachText(document []byte, f func(member, text []byte)) {
	var member []byte
	for i := 0; i < len(document); i++ {
		if document[i] != '"' {
			continue
		}
		from := i
		for i++; i < len(document) && document[i] != '"'; i++ {
			if document[i] == '\\' {
				i++
			}
		}
		text, err := unquote(document[from:min(i+1, len(document))])
		if err != nil {
			continue // the text cannot be found; the resource is stored
		}
		for i+1 < len(document) && document[i+1] == ' ' { // a database may add spaces
			i++
		}
		if i+1 < len(document) && document[i+1] == ':' {
			member = text
		} else {
			f(member, text)
		}
	}
}

// maxAddress is more than the length of any IP address or block of addresses.
const maxAddress = 50

func isAddress(member string, text []byte) bool {
	if strings.HasSuffix(member, "DnsName") {
		return true
	}
	if len(text) > maxAddress {
		return false
	}
	hasSeparator := false
	for _, c := range text {
		switch {
		case c == '.' || c == ':':
			hasSeparator = true
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F', c == '/':
		default:
			return false
		}
	}
	if !hasSeparator {
		return false
	}
	if strings.Contains(string(text), "/") {
		_, err := netip.ParsePrefix(string(text))
		return err == nil
	}
	_, err := netip.ParseAddr(string(text))
	return err == nil
}

// searchBuildRetry is how long the build of the index waits after an error, such as a full disk.
const searchBuildRetry = 10 * time.Second

// BuildSearchIndex indexes the versions of an older program, and ends when all are. It continues where an earlier
// process stopped. step indexes some versions, and returns their number.
func BuildSearchIndex(ctx context.Context, log *slog.Logger, step func(context.Context) (int, error)) {
	failed := false
	for ctx.Err() == nil {
		n, err := step(ctx)
		switch {
		case err == nil && n == 0:
			return
		case err == nil:
			failed = false
		case ctx.Err() == nil:
			if !failed {
				log.Warn("search index build failed; retrying", "error", err, "retry_in", searchBuildRetry)
			}
			failed = true
			select {
			case <-ctx.Done():
			case <-time.After(searchBuildRetry):
			}
		}
	}
}
