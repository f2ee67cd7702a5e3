//go:build unix

// Package postgrestest runs a real Postgres server for tests: the system's binaries, a data directory of its own, a
// port on loopback. Begin at [Start].
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrMissing is returned if the machine has no Postgres.
var ErrMissing = errors.New("no Postgres server on this machine: apt-get install postgresql")

// User and Password are the superuser's.
const (
	User     = "collector"
	Password = "correct-horse-EXAMPLE-battery"
)

// A Server is a cluster and, between [Server.Start] and [Server.Stop], the process that serves it.
type Server struct {
	dir, bin   string
	port       int
	credential *syscall.Credential // of another user, because Postgres refuses to run as root
	settings   []string

	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   *os.File
}

// Start creates a cluster and serves it. settings are those of the server's command line, such as "fsync=off", which
// saves time. Even then a crash of the server's processes, as by [Server.Crash], loses nothing; only a crash of the
// machine would.
func Start(settings ...string) (_ *Server, err error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, settings: settings}
	if s.dir, err = os.MkdirTemp("", "postgrestest-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	if os.Geteuid() == 0 {
		if err := s.useServerUser(); err != nil {
			return nil, err
		}
	}
	secret := filepath.Join(s.dir, "password")
	if err := s.writeFile(secret, Password+"\n"); err != nil {
		return nil, err
	}
	initdb := s.command(context.Background(), filepath.Join(bin, "initdb"), "-D",
		filepath.Join(s.dir, "data"), "-U", User, "-A", "scram-sha-256",
		"--pwfile", secret, "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	return s, s.Start()
}

// findBinaries returns the directory of the server's programs: the one on the path, or the newest version where Debian
// installs them.
func findBinaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.Join(ErrMissing, err)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 if it is not a number
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// useServerUser runs the server as the user that its package created.
func (s *Server) useServerUser() error {
	u, err := user.Lookup("postgres")
	if err != nil {
		return errors.Join(ErrMissing, err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	s.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.dir, uid, gid)
}

func (s *Server) writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	if s.credential == nil {
		return nil
	}
	return os.Chown(path, int(s.credential.Uid), int(s.credential.Gid))
}

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(cmd.Environ(), "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential, Setpgid: true}
	return cmd
}

// Start serves the cluster, on the same port as before. It returns when the server answers.
func (s *Server) Start() (err error) {
	if s.log, err = os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	// The shell stops the server when its own input ends, also if this process is killed.
	s.cmd = s.command(context.Background(), "sh", "-c", `"$@" & p=$!; read how; kill -"${how:-INT}" $p; wait $p`, "sh",
		filepath.Join(s.bin, "postgres"), "-D", "data", "-k", s.dir, "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1")
	for _, set := range s.settings {
		s.cmd.Args = append(s.cmd.Args, "-c", set)
	}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.DSN())
		if err == nil {
			return conn.Close(ctx)
		}
		if ctx.Err() != nil {
			log, _ := os.ReadFile(s.log.Name()) // only adds to the error
			return errors.Join(fmt.Errorf("postgres does not answer: %w\n%s", err, log), s.shutdown("QUIT"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// DSN returns the connection string of the superuser. options are further keywords and values, such as "user=other".
func (s *Server) DSN(options ...string) string {
	const format = "host=127.0.0.1 port=%d dbname=postgres user=%s password=%s sslmode=disable"
	return strings.Join(append([]string{fmt.Sprintf(format, s.port, User, Password)}, options...), " ")
}

// Port returns the port that the server listens on.
func (s *Server) Port() int { return s.port }

// Stop stops the server as an administrator does: it closes connections and loses nothing.
func (s *Server) Stop() error { return s.shutdown("INT") }

// Crash stops the server at once. What was not flushed is lost.
func (s *Server) Crash() error { return s.shutdown("QUIT") }

// Freeze stops the server's processes as on a hung machine: connections stay, and nothing answers. only are the process
// ids of backends to stop; none means all processes. thaw continues them.
func (s *Server) Freeze(only ...int) (thaw func() error, err error) {
	postmaster, err := s.postmasterPID()
	if err != nil {
		return nil, err
	}
	pids := only
	if len(only) == 0 {
		pids = append(pids, postmaster) // first, so that it starts no further process
	}
	var frozen []int
	thaw = func() error {
		var errs []error
		for _, pid := range frozen {
			if err := syscall.Kill(pid, syscall.SIGCONT); !errors.Is(err, syscall.ESRCH) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
	stop := func(pids []int) error {
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
			frozen = append(frozen, pid)
		}
		return nil
	}
	if err := stop(pids); err != nil {
		return nil, errors.Join(err, thaw())
	}
	if len(only) > 0 {
		return thaw, nil
	}
	children, err := childrenOf(postmaster)
	if err == nil {
		err = stop(children)
	}
	if err != nil {
		return nil, errors.Join(err, thaw())
	}
	return thaw, nil
}

// postmasterPID returns the process that starts all others.
func (s *Server) postmasterPID() (int, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strconv.Atoi(first)
}

func childrenOf(parent int) (pids []int, err error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		var pid, ppid int
		if n, _ := fmt.Sscan(line, &pid, &ppid); n == 2 && ppid == parent {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func (s *Server) shutdown(signal string) error {
	if s.cmd == nil {
		return nil
	}
	_, err := io.WriteString(s.stdin, signal+"\n")
	err = errors.Join(err, s.stdin.Close())
	_ = s.cmd.Wait() // its status only tells the signal
	s.cmd = nil
	return errors.Join(err, s.log.Close())
}

// Remove stops the server and deletes the cluster.
func (s *Server) Remove() error { return errors.Join(s.shutdown("INT"), os.RemoveAll(s.dir)) }
