package deliver_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/all"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/file"
	"github.com/aws-collector/collector/outputs/http"
)

// Conflicts are found without opening an output. Here, none could be opened.
func TestConflicts(t *testing.T) {
	of := map[string]func() any{}
	for _, typ := range all.Types {
		of[typ.Name] = typ.NewOptions
	}
	hook := func(name string) any {
		o := of["http"]().(*http.Options)
		o.Name = name
		return o
	}
	file := func(name, path string, spool *outputs.Spool) any {
		o := of["file"]().(*file.Options)
		o.Name, o.Path, o.Spool = name, path, spool
		return o
	}
	there := filepath.Join(t.TempDir(), "x.jsonl")
	for what, c := range map[string]struct {
		specs []deliver.Spec
		want  []string
	}{
		"nothing": {[]deliver.Spec{
			{Type: "stdout", Options: of["stdout"]()}, {Type: "http", Options: hook("")}, {Type: "http", Options: hook("b")},
		}, nil},
		"one name": {[]deliver.Spec{
			{Type: "http", Options: hook("a"), Line: 3}, {Type: "stdout", Options: of["stdout"]()},
			{Type: "http", Options: hook("a")},
		}, []string{`2 name two outputs are named "a"`}},
		"two without": {[]deliver.Spec{
			{Type: "http", Options: hook("")}, {Type: "http", Options: hook("")},
		}, []string{"1 warning"}},
		"two without state on disk": {[]deliver.Spec{
			{Type: "file", Options: file("", there, nil)}, {Type: "file", Options: file("", there+"2", nil)},
		}, nil},
		"one file": {[]deliver.Spec{
			{Type: "file", Options: file("", there, nil), Line: 3},
			{Type: "file", Options: file("", there, &outputs.Spool{})},
		},
			[]string{"1  writes to the same place as line 3: output file: two writers would mix their lines"}},
		"one path": {[]deliver.Spec{
			{Type: "prometheus", Options: of["prometheus"](), Line: 3},
			{Type: "prometheus", Options: of["prometheus"]()},
		},
			[]string{"1 path already used by line 3: output prometheus; set another path"}},
		"no type": {[]deliver.Spec{{Type: "fax"}}, []string{"0  unknown output type"}},
	} {
		var got []string
		for _, clash := range deliver.Conflicts(all.Types, c.specs) {
			if clash.Warning {
				got = append(got, fmt.Sprint(clash.Index, " warning"))
			} else {
				got = append(got, fmt.Sprint(clash.Index, " ", clash.Option, " ", clash.Err))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}
