package config

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/aws-collector/collector/secret"
)

// Accounts that differ in any field are unpacked unchanged. So a new field needs only its line in Account.
func TestPackRoundTrip(t *testing.T) {
	full := func() Account {
		var a Account
		fill(reflect.ValueOf(&a).Elem(), "x", 1)
		return a
	}
	accounts := []Account{
		full(),
		{},
		full(),
		{ExtraTags: map[string]string{}},
		{ExtraTags: map[string]string{"": "", "k": strings.Repeat("v", 300)}},
		{SignIn: SignIn{Roles: []Role{}}},
	}
	var each func(v reflect.Value, at []int)
	each = func(v reflect.Value, at []int) {
		for i := range v.NumField() {
			at := append(at[:len(at):len(at)], i)
			if f := v.Field(i); f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[secret.String]() {
				each(f, at)
				continue
			}
			a := full()
			fill(reflect.ValueOf(&a).Elem().FieldByIndex(at), "other", 2)
			accounts = append(accounts, a)
		}
	}
	each(reflect.ValueOf(Account{}), nil)
	if len(accounts) < 30 {
		t.Fatalf("only %d accounts", len(accounts))
	}
	want := make([]Account, len(accounts))
	for i, a := range accounts {
		want[i] = a
		want[i].ExtraTags = maps.Clone(a.ExtraTags)
		want[i].Roles = append(a.Roles[:0:0], a.Roles...)
	}
	for i, b := range PackAccounts(accounts) {
		if got := b.Account(); !reflect.DeepEqual(got, want[i]) || b.Name() != want[i].Name {
			t.Errorf("account %d: got %+v\nwant %+v", i, got, want[i])
		}
		if !reflect.DeepEqual(accounts[i], want[i]) {
			t.Errorf("account %d was changed by packing", i)
		}
	}
}

// fill sets every field of v.
func fill(v reflect.Value, text string, n int64) {
	switch {
	case v.Type() == reflect.TypeFor[secret.String]():
		v.Set(reflect.ValueOf(secret.New(text)))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		v.SetBool(n == 1)
	case v.CanInt():
		v.SetInt(n)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, n)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), int(n), int(n)))
		for i := range v.Len() {
			fill(v.Index(i), text, n)
		}
	case v.Kind() == reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{text: text}))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), text, n)
		}
	default:
		panic("unknown kind of field: " + v.Type().String())
	}
}

// Accounts that differ only in their own texts share all other fields.
func TestPackedAccountsShare(t *testing.T) {
	var text strings.Builder
	text.WriteString("accounts:\n")
	for i := range 20 {
		fmt.Fprintf(&text, "  - {name: a%[1]d, ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: s%[1]d, "+
			"assume_role_arn: 'arn:aws:iam::%012[1]d:role/r', extra_tags: {account_name: a%[1]d, n: '%[1]d'}, "+
			"schedule: '*/%[2]d * * * *'}\n", i, 10+i%2)
	}
	f, err := load([]byte(text.String()), "c.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shared := map[*Account]int{}
	for _, b := range f.Accounts {
		shared[b.shared]++
	}
	if len(shared) != 2 {
		t.Errorf("%d accounts with two schedules share %d values, want 2", len(f.Accounts), len(shared))
	}
}
