package printable

import "testing"

func TestSpreadsheetCell(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "",
		"web-1":                       "web-1",
		"a=b":                         "a=b",
		"10.0.0.0/8":                  "10.0.0.0/8",
		"2026-11-21T22:15:03Z":        "2026-11-21T22:15:03Z",
		"-":                           "-",
		"-1":                          "-1", // FromPort of an ICMP rule
		"+3.5":                        "+3.5",
		"-1e9":                        "-1e9",
		"-1+cmd|' /C calc'!A0":        "'-1+cmd|' /C calc'!A0",
		"=1+1":                        "'=1+1",
		`=HYPERLINK("http://x","y")`:  `'=HYPERLINK("http://x","y")`,
		"+49 30 1234":                 "'+49 30 1234",
		"@SUM(1)":                     "'@SUM(1)",
		"-2+3":                        "'-2+3",
		" =1":                         "' =1",
		"\t=1":                        "\t'=1",
		"\r=1":                        "\r'=1",
		"\u00a0=1":                    "'\u00a0=1",
		"＝1+1":                        "'＝1+1",
		"a\n=1\n-x":                   "a\n'=1\n'-x",
		"a;=1; @x;b":                  "a;'=1;' @x;b",
		";=1":                         ";'=1",
		"==1":                         "'==1",
		"a,=1":                        "a,=1", // the comma is quoted
		`{"Key":"x","Value":"=1"}`:    `{"Key":"x","Value":"=1"}`,
		`{"Key":"x;=1","Value":"y"}`:  `{"Key":"x;'=1","Value":"y"}`,
		"'=1":                         "'=1",
		"i-0abcd1234 (stopped; -old)": "i-0abcd1234 (stopped;' -old)",
	} {
		if got := SpreadsheetCell(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
