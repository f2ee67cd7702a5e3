package config

import "strings"

// checkActUsers checks web.act_users. Whether the users exist is checked where the web configuration file is read.
func (d *decoder) checkActUsers(w *Web) {
	p, ok := d.Checkable(&w.ActUsers)
	if !ok {
		return
	}
	switch {
	case len(w.ActUsers) == 0:
		d.Report(p, "is empty", "name a user of basic_auth_users, or remove the key")
	case !d.IsSet(&w.ConfigFile):
		d.Report(p, "needs web.config_file, whose basic_auth_users have the passwords", "set web.config_file")
	}
	for i := range w.ActUsers {
		name := &w.ActUsers[i]
		if p, ok := d.Checkable(name); ok && (*name == "" || strings.ContainsRune(*name, ':')) {
			d.Report(p, d.Show(p, *name)+" is not the name of a user", "name a user of basic_auth_users: without a colon")
		}
	}
}
