//go:build unix

package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Bouncer is a PgBouncer in front of a server.
type Bouncer struct {
	port int
	stop func() error
}

// StartBouncer serves the server through PgBouncer. settings are lines of its configuration, such as
// "pool_mode = session".
func (s *Server) StartBouncer(settings ...string) (_ *Bouncer, err error) {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // not on everyone's path
		if _, err := os.Stat(program); err != nil {
			return nil, ErrNoBouncer
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Bouncer{port: l.Addr().(*net.TCPAddr).Port}
	if err := l.Close(); err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, fmt.Sprintf("pgbouncer-%d.ini", b.port))
	text := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
%s
`, s.port, User, Password, b.port, strings.Join(settings, "\n"))
	if err := s.writeFile(file, text); err != nil {
		return nil, err
	}
	// The shell stops the pooler when its own input ends, also if this process is killed.
	cmd := s.command(context.Background(), "sh", "-c", `"$@" & p=$!; read how; kill $p; wait $p`, "sh", program, file)
	log, err := os.Create(file + ".log")
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	b.stop = func() error {
		err := stdin.Close()
		_ = cmd.Wait() // its status only tells the signal
		return errors.Join(err, log.Close())
	}
	for range 250 {
		conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(b.port))
		if err == nil {
			return b, conn.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	said, _ := os.ReadFile(log.Name()) // only adds to the error
	return nil, errors.Join(fmt.Errorf("pgbouncer does not answer\n%s", said), b.stop())
}

// DSN returns the connection string of the superuser through the pooler.
func (b *Bouncer) DSN() string {
	const format = "host=127.0.0.1 port=%d dbname=postgres user=%s password=%s sslmode=disable"
	return fmt.Sprintf(format, b.port, User, Password)
}

// Stop stops the pooler.
func (b *Bouncer) Stop() error { return b.stop() }
