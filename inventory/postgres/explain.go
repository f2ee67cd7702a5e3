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
	return errors.As(err, &ne) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, pgconn.ErrConnClosed) ||
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
		return "Check the user and the password in store.dsn, and the server's pg_hba.conf."
	case "3D000":
		return `Run "createdb NAME" to create the database, or set another one in store.dsn.`
	case "42501":
		return `Create a schema that the role owns: CREATE SCHEMA collector AUTHORIZATION "role". ` +
			`To read, USAGE on it and SELECT on its tables are enough.`
	case "53300":
		return "Allow more connections on the server: a collector uses up to 18."
	case "25006":
		return "Set the primary in store.dsn: this server is read only. " +
			"Among several hosts, target_session_attrs=read-write finds the primary."
	case "53400":
		return "Raise the server's limit that the error names, or set fewer connections for other programs."
	case "53100":
		return "Free disk space on the server."
	case "53200":
		return "Free memory on the server, or lower its work_mem or max_connections."
	case "58030", "58P01", "58000":
		return "Check the server's disk: its log says more."
	case "40001", "40P01":
		return "Nothing to do: the next run stores the target."
	case "25P03", "25P04", "57P05":
		return "Raise the time-out that the error names for the role of store.dsn: ALTER ROLE … SET …."
	case "57P04":
		return "Restore the database, or set another one in store.dsn: it was dropped."
	case "26000", "42P05":
		return "Set pool_mode=session in PgBouncer: connections were shared between transactions."
	case "XX000":
		return "Look at the server's log: it had an internal error."
	case "55P03":
		return "Find the session that holds a lock on the store's tables (pg_locks, pg_blocking_pids), " +
			"and end its transaction."
	case "57014":
		return "Raise the server's statement_timeout, or simplify the statement: it was cancelled."
	case "42P01", "3F000":
		return `Run "collector run" to create the tables. ` +
			`If a collector is running, its tables were dropped: restore them, or restart it to begin a new history.`
	case "XX001", "XX002":
		return `Run "collector db check" to see which of the server's files are damaged.`
	}
	if e.Code == "08P01" && strings.HasPrefix(e.Message, "unsupported startup parameter") { // of PgBouncer
		return "Remove this parameter from store.dsn, or add it to ignore_startup_parameters of PgBouncer."
	}
	if strings.HasPrefix(e.Code, "23") {
		return `Run "collector db check": rows of the store contradict each other.`
	}
	if strings.HasPrefix(e.Code, "57P") || strings.HasPrefix(e.Code, "08") {
		return "Nothing to do: writes resume when the server is reachable."
	}
	return ""
}
