package configfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws-collector/collector/config"
)

// A user of web.act_users that the web configuration file does not have is an error that names the place.
func TestActUsersMustExist(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yaml")
	users := "basic_auth_users:\n  alice: $2a$04$XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX\n"
	if err := os.WriteFile(file, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		web  config.Web
		want string
	}{
		"none":  {config.Web{}, ""},
		"there": {config.Web{ConfigFile: file, ActUsers: []string{"alice"}}, ""},
		"misspelt": {config.Web{ConfigFile: file, ActUsers: []string{"alice", "alcie"}},
			`c.yaml: web.act_users[1]: "alcie"`},
		"no such file":  {config.Web{ConfigFile: file + "x", ActUsers: []string{"alice"}}, "c.yaml: web.config_file: open"},
		"hostile names": {config.Web{ConfigFile: file, ActUsers: []string{"\x1b[2J"}}, `web.act_users[0]: "\x1b[2J"`},
	} {
		err := (&Source{Path: "c.yaml"}).checkActUsers(c.web)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
