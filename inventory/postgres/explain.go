package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// isConnectionError reports whether the connection was lost or could not be made.
func isConnectionError(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, pgconn.ErrConnClosed) ||
		pgconn.SafeToRetry(err) || pgconn.Timeout(err)
}

func isCertificateError(err error) bool {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	return errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &host)
}

// rootCause returns the innermost error: the outer ones repeat the address and list every attempt.
func rootCause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	for {
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			below := u.Unwrap()
			if below == nil {
				return err.Error()
			}
			err = below
		case interface{ Unwrap() []error }:
			all := u.Unwrap()
			if len(all) == 0 {
				return err.Error()
			}
			err = all[len(all)-1]
		default:
			return err.Error()
		}
	}
}

// hintOf returns the hint for an error of the server. https://www.postgresql.org/docs/current/errcodes-appendix.html
func hintOf(e *pgconn.PgError) string {
	switch e.Code {
	case "28P01", "28000":
		return "look at user and password in store.dsn, and at the server's pg_hba.conf"
	case "3D000":
		return "make the database, or name another in store.dsn: createdb NAME"
	case "42501":
		return `the role needs a schema of its own: CREATE SCHEMA collector AUTHORIZATION "role"; to ask, USAGE on it and SELECT on its tables are enough`
	case "53300":
		return "the server has no connection to spare; a collector takes up to 14"
	case "25006":
		return "the server is read only, a replica perhaps: store.dsn must name the primary; target_session_attrs=read-write finds it among several hosts. The store goes on by itself"
	case "53100", "53200":
		return "the server's disk or memory is full; the store goes on by itself"
	case "55P03":
		return "Find the session that holds a lock on the store's tables (pg_locks, pg_blocking_pids), and end its transaction."
	case "57014":
		return "a statement took longer than the server, or its statement_timeout, lets it"
	case "42P01", "3F000":
		return `"collector run" makes the tables; if a collector runs, they were dropped under it: restore them, or restart it to begin a new history`
	case "XX001", "XX002":
		return "the server's files are damaged: \"collector db check\" says where"
	}
	if strings.HasPrefix(e.Code, "57P") || strings.HasPrefix(e.Code, "08") {
		return "the store goes on by itself once the server is back"
	}
	return ""
}
