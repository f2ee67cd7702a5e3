package config

import (
	"encoding/binary"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/aws-collector/collector/secret"
)

// A PackedAccount is an [Account] in compact form. There may be ten thousand of them, of which a few hundred are in use
// at one time. So the texts of its own are in one string, and what it has in common with other accounts is shared with
// them. It is immutable.
type PackedAccount struct {
	texts   string // each a length and its bytes: those of ownTexts, then the keys and values of extra_tags
	secrets [4]secret.String
	shared  *Account // the account without the fields above; shared, read only
	line    int32
}

// ownTexts returns the fields that usually differ between accounts. Another field may differ, too: then the account
// does not share its remaining fields with others.
func ownTexts(a *Account) []*string {
	own := []*string{&a.Name, &a.AccountID, &a.AKID, &a.Profile, &a.ARN, &a.ExternalID, &a.SerialNumber, &a.Fingerprint}
	if n := len(a.Roles); n > 0 {
		own = append(own, &a.Roles[n-1].ARN) // differs for each member of an organization
	}
	return own
}

func ownSecrets(a *Account) [4]*secret.String {
	return [...]*secret.String{&a.AKSecret, &a.SessionToken, &a.TOTPSeed, &a.TokenCode}
}

// PackAccounts packs accounts.
func PackAccounts(accounts []Account) []PackedAccount {
	blocks := make([]PackedAccount, len(accounts))
	shared := map[string][]*Account{}
	var last *Account
	var buf []byte
	for i, a := range accounts {
		b := &blocks[i]
		a.Roles = slices.Clone(a.Roles) // its last ARN is cleared below
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
			a.ExtraTags = map[string]string{} // shared: whether there are any
		}
		a.Line = 0
		if last == nil || !reflect.DeepEqual(*last, a) {
			last = sharedPart(shared, a)
		}
		b.shared = last
	}
	return blocks
}

// sharedPart returns a pointer to an account equal to a, the same pointer for all equal accounts.
func sharedPart(shared map[string][]*Account, a Account) *Account {
	key := fmt.Sprintf("%+v", a) // equal accounts have equal keys; others may, too
	for _, s := range shared[key] {
		if reflect.DeepEqual(*s, a) {
			return s
		}
	}
	shared[key] = append(shared[key], &a)
	return &a
}

// Name returns the account's name without unpacking the account.
func (b *PackedAccount) Name() string {
	name, _ := cutText(b.texts)
	return name
}

// cutText returns the first of texts and the rest.
func cutText(texts string) (first, rest string) {
	n, width := binary.Uvarint([]byte(texts[:min(len(texts), binary.MaxVarintLen64)]))
	return texts[width : width+int(n)], texts[width+int(n):]
}

// Account returns the account as it was packed.
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
