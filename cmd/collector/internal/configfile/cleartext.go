package configfile

import (
	"fmt"
	"net"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory/postgres"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/web"
)

// cleartextWarnings returns a warning for each way in which others on the network can read what the program sends or
// serves, or answer in the place of a receiver. Only --strict looks for them: a network may be trusted. What is invalid
// is ignored here; using it fails with an error.
func (s *Source) cleartextWarnings(f *config.File) []string {
	var problems []config.Problem
	for i, o := range f.Outputs {
		for _, p := range outputs.Cleartext(o.Options) {
			p.Line, p.Path = o.Line, fmt.Sprintf("outputs[%d].%s", i, p.Path)
			problems = append(problems, p)
		}
	}
	problems = append(append(problems, storeCleartext(f.Store)...), s.webCleartext(f.Web)...)
	var all []string
	for _, p := range problems {
		p.File = s.Name()
		all = append(all, p.Error())
	}
	return all
}

func storeCleartext(store config.Store) []config.Problem {
	if store.Type != "postgres" {
		return nil
	}
	t, err := postgres.TransportOf(store.DSN.Reveal())
	if err != nil {
		return nil
	}
	isRemote := false
	for _, host := range t.Hosts {
		isRemote = isRemote || !config.IsLoopback(host)
	}
	p := config.Problem{
		Path: "store.dsn", Remedy: "set sslmode=verify-full, and sslrootcert if the authority is not one of the system's",
	}
	switch {
	case !isRemote || t.Verified:
		return nil
	case t.Encrypted:
		p.Text = "the server is not verified: anyone on the network path can read and answer"
	default:
		p.Text = "the inventory, and perhaps the password, may be sent in clear text: " +
			"sslmode is disable, allow or prefer, which is the default"
	}
	return []config.Problem{p}
}

func (s *Source) webCleartext(w config.Web) []config.Problem {
	host, _, err := net.SplitHostPort(w.Listen)
	if err != nil || config.IsLoopback(host) {
		return nil
	}
	protection, err := web.ProtectionOf(w.ConfigFile)
	if err != nil {
		return nil
	}
	switch {
	case len(protection.Users) == 0 && !protection.ClientCertificate:
		p := config.Problem{
			Path:   "web.listen",
			Text:   fmt.Sprintf("%q is open to other machines without authentication: they can read the inventory", w.Listen),
			Remedy: "listen on 127.0.0.1, or set basic_auth_users and tls_server_config in web.config_file",
		}
		switch {
		case s.Listen != "":
			p.Path = "--listen"
		case s.Getenv("COLLECTOR_LISTEN") != "":
			p.Path = "COLLECTOR_LISTEN"
		}
		return []config.Problem{p}
	case !protection.TLS:
		return []config.Problem{{
			Path:   "web.config_file",
			Text:   "passwords are sent in clear text: it has basic_auth_users and no tls_server_config",
			Remedy: "add tls_server_config, or listen on 127.0.0.1",
		}}
	}
	return nil
}
