package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// TestIdentitiesOfOneFile: identities that several processes store at the same time are all in the file. A renamed
// block keeps its identity, a block that comes back finds it, and one that signs in differently has none.
func TestIdentitiesOfOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identities.json")
	var wg sync.WaitGroup
	for range 3 {
		f := New(Options{Path: path})
		for i := range 40 {
			wg.Go(func() {
				a := config.Account{Name: fmt.Sprint("block ", i), SignIn: config.SignIn{Fingerprint: fmt.Sprint("m", i)}}
				identity := record.Identity{AccountID: fmt.Sprintf("%012d", i), Partition: "aws", ARN: "a"}
				if err := f.Check(a, identity, nil); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	f := New(Options{Path: path})
	if err := f.Load(); err != nil || len(f.identities) != 40 {
		t.Fatalf("%d identities, %v", len(f.identities), err)
	}
	blocks := map[string]string{"renamed": "m1", "block 2": "m2", "block 3": "another", "organization:x": "m4"}
	if err := f.SetBlocks(blocks); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[blockKey]string{
		{"renamed", "m1"}:        "000000000001",
		{"block 2", "m2"}:        "000000000002",
		{"block 3", "another"}:   "",
		{"organization:x", "m4"}: "000000000004",
	} {
		c := f.Lookup(key.block, key.fingerprint)
		if c == nil && want != "" || c != nil && (c.AccountID != want || c.Removed) {
			t.Errorf("%v is %+v", key, c)
		}
	}
	if err := errors.Join(f.Flush(), f.SetBlocks(map[string]string{"block 3": "m3"}), f.Flush()); err != nil {
		t.Fatal(err)
	}
	f = New(Options{Path: path})
	err := f.Load()
	back, removed := f.Lookup("block 3", "m3"), f.Lookup("block 2", "m2")
	if err != nil || back == nil || back.Removed || !removed.Removed {
		t.Errorf("a block that came back: %v", err)
	}
}

// TestIdentitiesReadOnly: a check writes refusals, so that they can be accepted, and nothing else; a dry run writes
// nothing.
func TestIdentitiesReadOnly(t *testing.T) {
	identity := func(id string) record.Identity {
		return record.Identity{AccountID: id, Partition: "aws", ARN: "arn:" + id}
	}
	a := config.Account{Name: "prod", SignIn: config.SignIn{Fingerprint: "m"}}
	for name, o := range map[string]Options{"check": {Checking: true}, "dry run": {ReadOnly: true}} {
		o.Path = filepath.Join(t.TempDir(), "identities.json")
		f := New(o)
		err := errors.Join(f.Check(a, identity("111111111111"), nil), f.SetBlocks(map[string]string{"prod": "m"}), f.Flush())
		if err != nil {
			t.Fatal(err)
		}
		if record.ReasonOf(f.Check(a, identity("222222222222"), nil)) != record.WrongAccount {
			t.Errorf("%s: not compared within one process", name)
		}
		if left, _ := filepath.Glob(o.Path + "*"); name != "check" && len(left) > 0 {
			t.Errorf("%s wrote %v", name, left)
		}
		if _, err := os.Stat(o.Path); name != "check" && err == nil {
			t.Errorf("%s wrote the file", name)
		}
		writer := New(Options{Path: o.Path})
		_ = os.Remove(o.Path)
		if err := writer.Check(a, identity("111111111111"), nil); err != nil {
			t.Fatal(err)
		}
		f = New(o)
		if err := f.Load(); err != nil || record.ReasonOf(f.Check(a, identity("222222222222"), nil)) != record.WrongAccount {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(f.Flush(), writer.Load()); err != nil {
			t.Fatal(err)
		}
		if refused := writer.Lookup("prod", "m").Refused != nil; refused != (name == "check") {
			t.Errorf("%s: refused %t", name, refused)
		}
	}
}

// TestIdentityFileLost: a process does not lose its identities with the file. Another account is refused although the
// file was removed, emptied, damaged or replaced, and it can be accepted, because the file is written again.
func TestIdentityFileLost(t *testing.T) {
	identity := func(id string) record.Identity {
		return record.Identity{AccountID: id, Partition: "aws", ARN: "arn:" + id}
	}
	block := func(name string) config.Account {
		return config.Account{Name: name, SignIn: config.SignIn{Fingerprint: "m " + name}}
	}
	put := func(text string) func(path string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	for name, lose := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": put(""),
		"torn":    put(`{"version":1,"claims":[{"block":"pr`),
		"newer":   put(`{"version":2,"claims":[]}`),
		"null":    put("null"),
		"a directory": func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		},
		"a link to nowhere": func(path string) error {
			return errors.Join(os.Remove(path), os.Symlink(path+".nowhere", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "identities.json")
			f := New(Options{Path: path})
			err := errors.Join(
				f.Load(),
				f.Check(block("prod"), identity("111111111111"), nil),
				f.Check(block("other"), identity("222222222222"), nil),
			)
			if err != nil {
				t.Fatal(err)
			}
			if err := lose(path); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Check(block("other"), identity("222222222222"), nil), f.Flush()); err != nil {
				t.Fatal(err)
			}
			after := New(Options{Path: path})
			if after.Load() != nil || after.Lookup("prod", "m prod") == nil {
				t.Fatal("not written again with the next run of any block")
			}
			for range 2 {
				if err := f.Check(block("prod"), identity("999999999999"), nil); record.ReasonOf(err) != record.WrongAccount {
					t.Fatalf("another account: %v", err)
				}
			}
			if err := f.Flush(); err != nil {
				t.Fatal(err)
			}
			other := New(Options{Path: path})
			if err := other.Load(); err != nil || other.Lookup("other", "m other") == nil {
				t.Fatalf("written again: %v", err)
			}
			if _, err := other.Accept("prod"); err != nil {
				t.Fatal(err)
			}
			if err := f.Check(block("prod"), identity("999999999999"), nil); err != nil {
				t.Errorf("accepted: %v", err)
			}
		})
	}
}

// TestRefusalIsWrittenLater: a refusal that could not be written is written later, so that a person can accept it.
func TestRefusalIsWrittenLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f := New(Options{Path: filepath.Join(dir, "identities.json")})
		a := config.Account{Name: "prod", SignIn: config.SignIn{Fingerprint: "m"}}
		check := func(id string) error {
			return f.Check(a, record.Identity{AccountID: id, Partition: "aws", ARN: "arn:" + id}, nil)
		}
		waitForFlush := func() {
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if err := errors.Join(f.Load(), check("111111111111"), os.Rename(dir, dir+".away")); err != nil {
			t.Fatal(err)
		}
		refused := func() {
			if err := check("999999999999"); record.ReasonOf(err) != record.WrongAccount {
				t.Fatal(err)
			}
			waitForFlush()
		}
		refused()
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		refused()
		other := New(f.options)
		if err := other.Load(); err != nil || len(other.Refusals()) != 1 {
			t.Errorf("%v, refused: %v", err, other.Refusals())
		}
	})
}
