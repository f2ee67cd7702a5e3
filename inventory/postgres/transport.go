package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// A Transport says how the connections of a connection string are protected on the network.
type Transport struct {
	Hosts     []string // without the sockets of this machine
	Encrypted bool     // all of them, always
	Verified  bool     // so is the server's certificate
}

// TransportOf reads a connection string, and libpq's variables and files for what it leaves out. It does not connect.
func TransportOf(dsn string) (Transport, error) {
	conf, err := pgx.ParseConfig(dsn)
	if err != nil {
		return Transport{}, dsnError("is not a valid connection string")
	}
	t := Transport{Encrypted: true, Verified: true}
	add := func(host string, encrypted, verified bool) {
		if !strings.HasPrefix(host, "/") {
			t.Hosts = append(t.Hosts, host)
			t.Encrypted, t.Verified = t.Encrypted && encrypted, t.Verified && verified
		}
	}
	add(conf.Host, conf.TLSConfig != nil, conf.TLSConfig != nil &&
		(!conf.TLSConfig.InsecureSkipVerify || conf.TLSConfig.VerifyPeerCertificate != nil))
	for _, f := range conf.Fallbacks { // other hosts, and the same one without TLS: sslmode=prefer
		add(f.Host, f.TLSConfig != nil, f.TLSConfig != nil &&
			(!f.TLSConfig.InsecureSkipVerify || f.TLSConfig.VerifyPeerCertificate != nil))
	}
	return t, nil
}
