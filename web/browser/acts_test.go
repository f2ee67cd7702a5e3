package browser

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The schedule is paused, a run is started by a click, and the schedule applies again. The page says so each time.
func TestPauseAndRunNow(t *testing.T) {
	b := newTab(t, width, height)
	b.open("/accounts/china")
	b.follow(`form[action$="/china/pause"] button`)
	b.awaits(".notice[role=status]", "The schedule is paused")
	b.screenshot("paused")
	waitUntilIdle(t, "china")
	b.open("/accounts/china")
	b.follow(`form[action$="/china/start"] button`)
	b.awaits(".notice[role=status]", "A run was started.")
	b.screenshot("run-started")
	b.follow(`form[action$="/china/resume"] button`)
	b.awaits(".notice[role=status]", "The schedule applies again.")
}

// An account needs a code of its MFA device: somebody enters it on the page, and the account is healthy again.
func TestEnterCode(t *testing.T) {
	seed := withoutSeed(t, "payments")
	b := newTab(t, width, height)
	waitForState(t, "payments", "auth_failed") // at its next run
	b.open("/accounts/payments")
	b.wants("#failures", "MFA")
	b.screenshot("code-needed")
	code := nextCode(t, seed)
	b = newTab(t, width, height) // a tab has a minute, and the code took half of it
	b.open("/accounts/payments")
	b.submit("#mfa-code", code)
	b.awaits(".notice[role=status]", "The MFA session has begun")
	waitForState(t, "payments", "ok")
	b.open("/accounts/payments")
	b.wants(`section[aria-labelledby="h-sign-in"]`, "works")
	b.screenshot("code-entered")
}

// withoutSeed takes the seed of an account's MFA device out of the configuration, removes its session, and returns the
// seed.
func withoutSeed(t *testing.T, account string) string {
	t.Helper()
	seed, err := os.ReadFile(filepath.Join(demoDir, "totp-"+account))
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := filepath.Glob(filepath.Join(demoDir, "data", "sessions", "*"))
	if err != nil || len(sessions) == 0 {
		t.Fatalf("%d stored sessions, %v", len(sessions), err)
	}
	for _, file := range sessions {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(demoDir, "config.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^.*totp_seed.*/totp-` + account + `.*\n`)
	if !line.Match(text) {
		t.Fatalf("%s has no seed in\n%s", account, text)
	}
	if err := os.WriteFile(file, line.ReplaceAll(text, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(seed))
}

// nextCode waits for a code that the demo has not used, and returns it (RFC 6238).
func nextCode(t *testing.T, seed string) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(seed, "="))
	if err != nil {
		t.Fatal(err)
	}
	const period = 30 * time.Second
	time.Sleep(time.Until(time.Now().Truncate(period).Add(period)))
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, time.Now().Unix()/int64(period.Seconds()))
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[offset:])&0x7fffffff%1e6)
}

// waitUntilIdle waits until no run of an account is in progress.
func waitUntilIdle(t *testing.T, account string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		var a struct {
			Running []any `json:"running"`
		}
		if err := getJSON("/api/v1/accounts/"+account, &a); err == nil && len(a.Running) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a run of %s does not end", account)
		}
	}
}

// accountState is the worst state of an account's instances in its regions. Other kinds are listed less often.
func accountState(account string) string {
	var all struct {
		Items []struct {
			Failed []struct {
				Kind  string `json:"kind"`
				State string `json:"state"`
			} `json:"failed"`
		} `json:"items"`
	}
	if err := getJSON("/api/v1/coverage?account="+account, &all); err != nil || len(all.Items) == 0 {
		return "unknown"
	}
	for _, item := range all.Items {
		for _, f := range item.Failed {
			if f.Kind == "ec2_instance" {
				return f.State
			}
		}
	}
	return "ok"
}

func waitForState(t *testing.T, account, want string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); accountState(account) != want; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s is %s, not %s", account, accountState(account), want)
		}
	}
}
