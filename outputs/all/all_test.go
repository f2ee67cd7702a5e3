package all_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/all"
	"github.com/aws-collector/collector/outputs/file"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/outputs/stdout"
)

func TestConformance(t *testing.T) {
	subjects := map[string]outputstest.Subject{
		"stdout": {Open: func(t *testing.T) (outputs.Output, func() []byte) {
			w := new(outputstest.Buffer)
			return outputstest.OpenDirect(t, stdout.Type, nil, w), w.Bytes
		}},
		"file": {Open: func(t *testing.T) (outputs.Output, func() []byte) {
			path := filepath.Join(t.TempDir(), "made", "records.jsonl")
			return outputstest.OpenDirect(t, file.Type, func(o any) { o.(*file.Options).Path = path }, nil), func() []byte {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
		}},
	}
	for _, typ := range all.Types { // so that no type is without a test
		if typ.Serve != nil || !typ.Direct { // a served output; or a remote one, which RunRemote tests
			continue
		}
		s, ok := subjects[typ.Name]
		if !ok {
			t.Errorf("output %s has no subject for the suite", typ.Name)
			continue
		}
		t.Run(typ.Name, func(t *testing.T) { outputstest.Run(t, s) })
	}
}
