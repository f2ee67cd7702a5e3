package auth

import (
	"testing"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/secret"
)

// TestTOTP checks appendix B of RFC 6238: six times, three algorithms.
func TestTOTP(t *testing.T) {
	keys := map[string]string{
		"SHA1":   "12345678901234567890",
		"SHA256": "12345678901234567890123456789012",
		"SHA512": "1234567890123456789012345678901234567890123456789012345678901234",
	}
	for at, want := range map[int64]map[string]string{
		59:          {"SHA1": "94287082", "SHA256": "46119246", "SHA512": "90693936"},
		1111111109:  {"SHA1": "07081804", "SHA256": "68084774", "SHA512": "25091201"},
		1111111111:  {"SHA1": "14050471", "SHA256": "67062674", "SHA512": "99943326"},
		1234567890:  {"SHA1": "89005924", "SHA256": "91819424", "SHA512": "93441116"},
		2000000000:  {"SHA1": "69279037", "SHA256": "90698825", "SHA512": "38618901"},
		20000000000: {"SHA1": "65353130", "SHA256": "77737706", "SHA512": "47863826"},
	} {
		for algorithm, code := range want {
			seed := config.TOTP{Key: secret.New(keys[algorithm]), Algorithm: algorithm, Digits: 8, Period: 30 * time.Second}
			counter, _ := codeWindow(time.Unix(at, 0), seed.Period)
			if got := totpCode(seed, counter); got != code {
				t.Errorf("%s at %d: %s, want %s", algorithm, at, got, code)
			}
			if seed.Digits = 6; totpCode(seed, counter) != code[2:] {
				t.Errorf("%s at %d: 6 digits are not the last of 8", algorithm, at)
			}
		}
	}
}
