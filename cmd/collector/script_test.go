package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/aws-collector/collector/internal/awsfake"
)

// asProgram is the variable that makes this test's binary the program: for tests that need a process of its own.
const asProgram = "COLLECTOR_TEST_AS_PROGRAM"

// TestMain lets a script call the program by its name, as a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	testscript.Main(leakFree{m}, map[string]func(){"collector": main})
}

// leakFree fails a package whose tests leave a goroutine behind.
type leakFree struct{ m *testing.M }

func (l leakFree) Run() int {
	code := l.m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			return 1
		}
	}
	return code
}

// TestScripts runs each file of testdata/script: what a person types, and what they read. A script begins with what it
// settles. In every one an AWS listens at $AWS_ENDPOINT_URL, with the demo's accounts; $PROD_KEY and so on are their keys.
func TestScripts(t *testing.T) {
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
				if a.MFA != nil {
					env.Setenv("SERIAL_"+a.Name, a.MFA.Serial)
					env.Setenv("CODE_"+a.Name, a.MFA.Now())
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// lastline FILE VARIABLE puts the file's last line into a variable.
			"lastline": func(ts *testscript.TestScript, _ bool, args []string) {
				lines := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n")
				ts.Setenv(args[1], lines[len(lines)-1])
			},
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}
