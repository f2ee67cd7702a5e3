package mfastore

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aws-collector/collector/secret"
)

// TestCipher: each encryption has another nonce, and an altered session cannot be read, nor that of another device.
func TestCipher(t *testing.T) {
	s, err := newSessionCipher(secret.New(strings.Repeat("0f", 32)))
	if err != nil {
		t.Fatal(err)
	}
	one, err := s.encrypt("d", storedSession{AccessKeyID: "ASIAIOSFODNN7EXAMPLE"})
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.encrypt("d", storedSession{AccessKeyID: "ASIAIOSFODNN7EXAMPLE"})
	if err != nil || bytes.Equal(one.Sealed, two.Sealed) {
		t.Errorf("the same nonce twice (%v)", err)
	}
	if got, err := s.decrypt("d", "FILE", one); err != nil || got.AccessKeyID != "ASIAIOSFODNN7EXAMPLE" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.decrypt("another", "FILE", one); err == nil || !strings.Contains(err.Error(), "FILE: altered") {
		t.Error(err)
	}
	one.Sealed[len(one.Sealed)/2] ^= 1
	if _, err := s.decrypt("d", "FILE", one); err == nil || strings.Contains(err.Error(), "ASIA") {
		t.Error(err)
	}
}
