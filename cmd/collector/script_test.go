package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/internal/samebuild"
	"github.com/aws-collector/collector/inventory/postgres/postgrestest"
)

// runAsProgram is the environment variable that makes this test binary run the program, for tests that need a process.
const runAsProgram = "COLLECTOR_TEST_AS_PROGRAM"

// TestMain lets scripts run the program by its name.
func TestMain(m *testing.M) {
	if os.Getenv(runAsProgram) != "" {
		main()
	}
	testscript.Main(leakCheckedTests{m}, map[string]func(){"collector": main})
}

// cluster is the Postgres server of the tests that ask for one.
var cluster = &postgrestest.Shared{Settings: []string{"fsync=off"}}

// quick is the program for tests of what commands print: this test binary, or with the race detector a build without
// it. Daemons and what runs in this process have the detector.
var quick quickProgram

type quickProgram struct {
	once sync.Once
	path string // in a directory of its own
	err  error
}

// executable returns the path of the program. A test binary is the program if [runAsProgram] is set.
func (q *quickProgram) executable(t testing.TB) string {
	t.Helper()
	q.once.Do(func() {
		if !samebuild.HasRace() {
			q.path, q.err = os.Executable()
			return
		}
		dir, err := os.MkdirTemp("", "collector-without-race-")
		if err != nil {
			q.err = err
			return
		}
		q.path = filepath.Join(dir, "collector")
		q.err = samebuild.Build(context.Background(), q.path, ".")
	})
	if q.err != nil {
		t.Fatal(q.err)
	}
	return q.path
}

// remove removes the program if it was built.
func (q *quickProgram) remove() error {
	if q.path == "" || !samebuild.HasRace() {
		return nil
	}
	return os.RemoveAll(filepath.Dir(q.path))
}

// leakCheckedTests fails if the tests leave a goroutine behind.
type leakCheckedTests struct{ m *testing.M }

func (l leakCheckedTests) Run() int {
	code := l.m.Run()
	if err := errors.Join(cluster.Remove(), quick.remove()); err != nil {
		println(err.Error())
		return 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			return 1
		}
	}
	return code
}

// TestScripts runs each file of testdata/script, which begins with a comment about its purpose. A fake AWS with the
// accounts of the demo listens at $AWS_ENDPOINT_URL; $KEY_prod and so on are their keys.
func TestScripts(t *testing.T) {
	program := quick.executable(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			scene := awsfake.Demo(awsfake.Options{Seed: 7})
			s, err := scene.AWS.Start()
			if err != nil {
				return err
			}
			env.Defer(s.Close)
			if samebuild.HasRace() {
				env.Setenv("PATH", filepath.Dir(program)+string(filepath.ListSeparator)+env.Getenv("PATH"))
			}
			env.Setenv("AWS_ENDPOINT_URL", s.URL)
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			for _, a := range scene.Accounts {
				if a.Key.ID != "" {
					env.Setenv("KEY_"+a.Name, a.Key.ID)
					env.Setenv("SECRET_"+a.Name, a.Key.Secret)
				}
				if a.RoleARN != "" {
					env.Setenv("ROLE_"+a.Name, a.RoleARN)
				}
				if a.Name == "platform" || a.Name == "data" { // replaces another account in some scripts
					k := a.Account.AddUser("carol").NewKey()
					env.Setenv("KEY_"+a.Name, k.ID)
					env.Setenv("SECRET_"+a.Name, k.Secret)
				}
				if a.MFA != nil {
					env.Setenv("SERIAL_"+a.Name, a.MFA.Serial)
					env.Setenv("CODE_"+a.Name, a.MFA.Now())
					env.Setenv("NEXT_"+a.Name, a.MFA.Code(scene.AWS.Now().Add(30*time.Second)))
				}
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" { // only root can chown files
				return os.Geteuid() == 0, nil
			}
			if cond == "postgres" {
				return cluster.Available()
			}
			return false, fmt.Errorf("unknown condition %s", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// lastline FILE VARIABLE puts the file's last line into a variable.
			"lastline": func(ts *testscript.TestScript, _ bool, args []string) {
				lines := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n")
				ts.Setenv(args[1], lines[len(lines)-1])
			},
			// storeruns DIRECTORY stores the runs of [sampleRuns].
			"storeruns": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(storeSampleRuns(ts.MkAbs(args[0])))
			},
			// dsn VARIABLE [OPTION…] puts the connection string of the tests' Postgres into a variable.
			"dsn": func(ts *testscript.TestScript, _ bool, args []string) {
				if ok, err := cluster.Available(); !ok {
					ts.Fatalf("no Postgres: %v", err)
				}
				ts.Setenv(args[0], cluster.DSN(args[1:]...))
			},
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}
