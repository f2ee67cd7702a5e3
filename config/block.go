package config

import (
	"encoding/binary"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/aws-collector/collector/secret"
)

// A Block is an [Account] at rest. There may be ten thousand, of which a few hundred are at work at one time; so its own texts stand in
// one string, and what it says like others it shares with them. It is immutable.
type PackedAccount struct {
	texts   string // each a length and its bytes: those of ownTexts, and then the keys and values of extra_tags
	secrets [4]secret.String
	shared  *Account // without the above; shared, read only
	line    int32
}

// ownTexts is what hardly two accounts have in common. A text that is not here is right too: then the whole of what is shared is not.
func ownTexts(a *Account) []*string {
	own := []*string{&a.Name, &a.AccountID, &a.AKID, &a.Profile, &a.ARN, &a.ExternalID, &a.SerialNumber, &a.Digest}
	if n := len(a.Roles); n > 0 {
		own = append(own, &a.Roles[n-1].ARN) // a member's, of an organization
	}
	return own
}

func ownSecrets(a *Account) [4]*secret.String {
	return [...]*secret.String{&a.AKSecret, &a.SessionToken, &a.TOTPSeed, &a.TokenCode}
}

// PackAccounts lays accounts to rest.
func PackAccounts(accounts []Account) []PackedAccount {
	blocks := make([]PackedAccount, len(accounts))
	shared := map[string][]*Account{}
	var last *Account
	var buf []byte
	for i, a := range accounts {
		b := &blocks[i]
		a.Roles = slices.Clone(a.Roles) // its last ARN is taken out
		buf = buf[:0]
		put := func(s string) { buf = append(binary.AppendUvarint(buf, uint64(len(s))), s...) }
		for _, s := range ownTexts(&a) {
			put(*s)
			*s = ""
		}
		for _, key := range slices.Sorted(maps.Keys(a.ExtraTags)) {
			put(key)
			put(a.ExtraTags[key])
		}
		for j, s := range ownSecrets(&a) {
			b.secrets[j], *s = *s, secret.String{}
		}
		b.texts, b.line = string(buf), int32(a.Line)
		if a.ExtraTags != nil {
			a.ExtraTags = map[string]string{} // that there are any is shared
		}
		a.Line = 0
		if last == nil || !reflect.DeepEqual(*last, a) {
			last = sharedPart(shared, a)
		}
		b.shared = last
	}
	return blocks
}

// sharedPart is what an account shares, the same for accounts of which it is the same.
func sharedPart(shared map[string][]*Account, a Account) *Account {
	key := fmt.Sprintf("%+v", a) // equal ones have equal keys; others may, too
	for _, s := range shared[key] {
		if reflect.DeepEqual(*s, a) {
			return s
		}
	}
	shared[key] = append(shared[key], &a)
	return &a
}

// Name is the account's, which need not be woken for it.
func (b *PackedAccount) Name() string {
	name, _ := cutText(b.texts)
	return name
}

// cutText takes the first of texts off.
func cutText(texts string) (first, rest string) {
	n, width := binary.Uvarint([]byte(texts[:min(len(texts), binary.MaxVarintLen64)]))
	return texts[width : width+int(n)], texts[width+int(n):]
}

// Account is the block as it was written.
func (b *PackedAccount) Account() Account {
	a := *b.shared
	a.Roles = slices.Clone(a.Roles)
	texts := b.texts
	for _, s := range ownTexts(&a) {
		*s, texts = cutText(texts)
	}
	if a.ExtraTags != nil {
		a.ExtraTags = map[string]string{}
	}
	for texts != "" {
		var key string
		key, texts = cutText(texts)
		a.ExtraTags[key], texts = cutText(texts)
	}
	for i, s := range ownSecrets(&a) {
		*s = b.secrets[i]
	}
	a.Line = int(b.line)
	return a
}
