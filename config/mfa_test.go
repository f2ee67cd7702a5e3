package config

import (
	"strings"
	"testing"
	"time"
)

func TestParseTOTP(t *testing.T) {
	for seed, want := range map[string]TOTP{
		"JBSWY3DPEHPK3PXP":                            {Algorithm: "SHA1", Digits: 6, Period: 30 * time.Second},
		" jbsw y3dp ehpk 3pxp\n":                      {Algorithm: "SHA1", Digits: 6, Period: 30 * time.Second},
		"JBSW-Y3DP-EHPK-3PXP":                         {Algorithm: "SHA1", Digits: 6, Period: 30 * time.Second},
		"JBSWY3DPEHPK3PXPGE======":                    {Algorithm: "SHA1", Digits: 6, Period: 30 * time.Second},
		"jbswy3dpehpk3pxpge":                          {Algorithm: "SHA1", Digits: 6, Period: 30 * time.Second},
		"otpauth://totp/a?secret=jbsw%20y3dpEHPK3PXP": {Algorithm: "SHA1", Digits: 6, Period: 30 * time.Second},
		"OTPAUTH://TOTP/Amazon%20Web%20Services:alice@prod?secret=JBSWY3DPEHPK3PXP&issuer=AWS" +
			"&algorithm=sha-512&digits=8&period=60": {Algorithm: "SHA512", Digits: 8, Period: time.Minute},
	} {
		got, err := ParseTOTP(seed)
		if err != nil {
			t.Errorf("%q: %v", seed, err)
			continue
		}
		if !strings.HasPrefix(got.Key.Reveal(), "Hello!\xde\xad\xbe\xef") {
			t.Errorf("%q: key %x", seed, got.Key.Reveal())
		}
		if got.Key = want.Key; got != want {
			t.Errorf("%q: %+v, want %+v", seed, got, want)
		}
	}
	for seed, want := range map[string]string{
		"":                                   "too short",
		"JBSWY3DP":                           "too short",
		"JBSWY3DPEHPK3PX1":                   "base32",
		"https://totp/a?secret=JBSWY3DP":     "not an otpauth",
		"otpauth://totp/%zz?secret=JBSWY3DP": "not an otpauth",
		"otpauth://hotp/a?secret=JBSWY3DP":   "counter-based",
		"otpauth://totp/a":                   "too short",
		"otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&digits=5":      "number of digits",
		"otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&digits=six":    "number of digits",
		"otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&period=0":      "period",
		"otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&algorithm=MD5": "algorithm",
	} {
		_, err := ParseTOTP(seed)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "JBSW") {
			t.Errorf("%q: %v, want %q and no seed", seed, err, want)
		}
	}
}
