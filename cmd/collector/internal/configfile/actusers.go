package configfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/web"
)

// checkActUsers compares web.act_users with the users of the web configuration file: a name that is misspelt would
// otherwise show only when somebody must act.
func (s *Source) checkActUsers(w config.Web) error {
	if len(w.ActUsers) == 0 {
		return nil
	}
	protection, err := web.ProtectionOf(w.ConfigFile)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name(), err)
	}
	var errs []error
	for i, name := range w.ActUsers {
		if slices.Contains(protection.Users, name) {
			continue
		}
		p := config.Problem{
			File: s.Name(), Path: fmt.Sprintf("web.act_users[%d]", i),
			Text:   fmt.Sprintf("%q is not in basic_auth_users of %s", name, w.ConfigFile),
			Remedy: "name one of its users: " + strings.Join(protection.Users, ", "),
		}
		if len(protection.Users) == 0 {
			p.Remedy = "add basic_auth_users to the file"
		}
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}
