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

// Run now: a click on the account's page starts a run, and the page says so.
func TestRunNow(t *testing.T) {
	b := newTab(t, width, height)
	b.open("/accounts/china")
	b.follow(`form[action$="/china/run"] button`)
	b.wants(".notice[role=status]", "A run was started.")
	b.screenshot("run-started")
}

// An account needs a code of its MFA device: somebody enters it on the page, and the account is healthy again.
func TestEnterCode(t *testing.T) {
	seed := withoutSeed(t, "payments")
	b := newTab(t, width, height)
	b.open("/accounts/payments")
	if state := accountState("payments"); state != "auth_failed" {
		b.follow(`form[action$="/payments/run"] button`)
	}
	waitForState(t, "payments", "auth_failed")
	b.open("/accounts/payments")
	b.wants("#failures", "MFA")
	b.screenshot("code-needed")
	code := nextCode(t, seed)
	b = newTab(t, width, height) // a tab has 30 seconds
	b.open("/accounts/payments")
	b.submit("#mfa-code", code)
	b.screenshot("code-sent")
	b.wants(".notice[role=status]", "The MFA session has begun")
	waitForState(t, "payments", "ok")
	b.open("/accounts/payments")
	b.wants("#failures", "No listing fails")
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

// accountState is the worst state of an account's regions.
func accountState(account string) string {
	var all struct {
		Items []struct {
			State string `json:"state"`
		} `json:"items"`
	}
	if err := getJSON("/api/v1/coverage?account="+account, &all); err != nil || len(all.Items) == 0 {
		return "unknown"
	}
	state := "ok"
	for _, item := range all.Items {
		if item.State != "ok" {
			state = item.State
		}
	}
	return state
}

func waitForState(t *testing.T, account, want string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); accountState(account) != want; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s is %s, not %s", account, accountState(account), want)
		}
	}
}
