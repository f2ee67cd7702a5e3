package accounts

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/config"
)

// Members that cannot be read are listed again. The damaged file is moved aside, but not by a command that only reads.
func TestDamagedMemberList(t *testing.T) {
	for name, damage := range map[string]string{
		"empty": "", "half": `{"version":1,"blo`, "of a later version": `{"version":7,"blocks":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "organizations.json")
			if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			for _, looks := range []bool{true, false} {
				var list ListFunc
				if !looks {
					list = new(auth.Sessions).Members
				}
				d := NewDirectory(list, path, slog.New(slog.NewTextHandler(&log, nil)))
				d.Last(config.Organization{Label: "org"})
				d.Close()
				_, err := os.Stat(path + ".damaged")
				if moved := err == nil; moved == looks {
					t.Errorf("only looks %v: moved aside %v", looks, moved)
				}
			}
			if n := strings.Count(log.String(), "level=WARN"); n != 2 {
				t.Errorf("logged %d times:\n%s", n, log.String())
			}
		})
	}
}
