package awsfake

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"time"
)

// An MFA is a virtual MFA device of a user.
type MFA struct {
	Serial string // its ARN
	Seed   string // base32, as AWS shows it when the device is made

	aws          *AWS
	secret       []byte
	usedCounters map[int64]bool // counters whose code was accepted; guarded by aws.mu
}

// AddMFA gives the user a virtual MFA device.
func (u *User) AddMFA(name string) *MFA {
	a := u.account.aws
	serial := u.account.arn("iam", "mfa/"+name)
	raw := append(a.derive("totp", serial), a.derive("totp 2", serial)...)[:40] // 64 characters of base32, as AWS's seeds
	m := &MFA{
		Serial:       serial,
		Seed:         base32NoPad.EncodeToString(raw),
		aws:          a,
		secret:       raw,
		usedCounters: make(map[int64]bool),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	u.devices = append(u.devices, m)
	return m
}

const codePeriod = 30 // seconds

// Code is the one-time code that the device shows at an instant (RFC 6238, SHA-1, 30 s, 6 digits).
func (m *MFA) Code(at time.Time) string { return m.code(at.Unix() / codePeriod) }

// Now is the code that the device shows at the present by AWS's clock.
func (m *MFA) Now() string { return m.Code(m.aws.Now()) }

func (m *MFA) code(counter int64) string {
	h := hmac.New(sha1.New, m.secret)
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(counter)))
	sum := h.Sum(nil)
	at := sum[len(sum)-1] & 15
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

// consume accepts a code of this time window, the previous or the next, once. The caller holds aws.mu for writing.
func (m *MFA) consume(code string, now time.Time) bool {
	c := now.Unix() / codePeriod
	for used := range m.usedCounters {
		if used < c-1 {
			delete(m.usedCounters, used)
		}
	}
	for _, at := range []int64{c, c - 1, c + 1} {
		if hmac.Equal([]byte(m.code(at)), []byte(code)) && !m.usedCounters[at] {
			m.usedCounters[at] = true
			return true
		}
	}
	return false
}
