package inventory

import "testing"

func TestSearchText(t *testing.T) {
	for _, c := range []struct{ name, tags, data, want string }{
		{"", "", "", "i-1"},
		{"web", `{"Name":"web","team":"a \"b\"","empty":""}`, `{"State":{"Name":"running"}}`,
			"i-1\nweb\nName\nteam\na \"b\"\nempty"},
		{"", `{"key": "value"}`, `{"key": {"PrivateIpAddress": "10.0.0.7", "List":["2001:db8::1","10.1.0.0/16","1.2"]}}`,
			"i-1\nkey\nvalue\n10.0.0.7\n2001:db8::1\n10.1.0.0/16"},
		{"", "{}", `{"PublicDnsName":"ec2-1.example.com","Launch":"2026-01-01T00:00:00Z","Owner":"123456789012"}`,
			"i-1\nec2-1.example.com"},
		{"", "{}", `{"A":"10.0.0.7","B":"10.0.0.7","C":"\\","D":"1.2.3.4`, "i-1\n10.0.0.7"}, // cut: no panic
	} {
		if got := SearchText("i-1", c.name, []byte(c.tags), []byte(c.data)); got != c.want {
			t.Errorf("%s %s:\n got %q\nwant %q", c.tags, c.data, got, c.want)
		}
	}
}
