package auth

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/secret"
)

// TestProcesses: four processes that share a data directory make one session with one code.
func TestProcesses(t *testing.T) {
	t.Run("token_code", func(t *testing.T) { race(t, func(m *awsfake.MFA) string { return "RACE_CODE=" + m.Now() }) })
	t.Run("totp_seed", func(t *testing.T) { race(t, func(m *awsfake.MFA) string { return "RACE_SEED=" + m.Seed }) })
}

func race(t *testing.T, codes func(*awsfake.MFA) string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := newFixture(t, awsfake.Options{})
	srv, err := w.aws.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	// Slow enough for all processes to start before the first is done.
	w.aws.Inject(awsfake.Fault{Kind: awsfake.Delay, Action: "GetSessionToken", Delay: 300e6})
	dir, code := t.TempDir(), codes(w.mfa)
	var racers []*exec.Cmd
	var starts []io.Closer
	for range 4 {
		c := exec.CommandContext(t.Context(), self)
		c.Env = append(os.Environ(), "AUTH_TEST_RACER="+dir, "RACE_URL="+srv.URL, "RACE_ID="+w.key.ID,
			"RACE_SECRET="+w.key.Secret, "RACE_SERIAL="+w.mfa.Serial, code, "RACE_ROLE="+w.role.ARN)
		start, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out := new(strings.Builder)
		c.Stdout, c.Stderr = out, out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		racers, starts = append(racers, c), append(starts, start)
	}
	for _, s := range starts {
		_ = s.Close() // starts the process's sign-in
	}
	for _, c := range racers {
		if err := c.Wait(); err != nil {
			t.Errorf("%v: %s", err, c.Stdout)
		}
	}
	w.count("GetSessionToken", 1)
	w.count("AssumeRole", 4)
}

// racer is the main function of such a process.
func racer(dir string) {
	_, _ = io.ReadAll(os.Stdin)
	ctx := context.Background()
	cfg, err := LoadAWS(ctx, LoadOptions{Isolated: true, Endpoint: os.Getenv("RACE_URL")})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	s := NewSessions(Options{AWS: cfg, DataDir: dir, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	defer s.Close()
	defer cfg.HTTPClient.(*http.Client).CloseIdleConnections()
	k := awsfake.Key{ID: os.Getenv("RACE_ID"), Secret: os.Getenv("RACE_SECRET")}
	a := block(key(k), device(os.Getenv("RACE_SERIAL"), os.Getenv("RACE_CODE")), role(os.Getenv("RACE_ROLE")))
	a.TOTPSeed = secret.New(os.Getenv("RACE_SEED"))
	if _, err := s.Open(ctx, a); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
