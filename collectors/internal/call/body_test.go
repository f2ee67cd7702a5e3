package call

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadHead(t *testing.T) {
	for _, n := range []int{
		0, 1, firstRead - 1, firstRead, firstRead + 1, prefetch - 1, prefetch, prefetch + 1, 3 * prefetch,
	} {
		want := bytes.Repeat([]byte("abcdefg"), n/7+1)[:n]
		buf := make([]byte, firstRead)
		r, err := readHead(&buf, bytes.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) || len(buf) > prefetch {
			t.Errorf("%d bytes: %d, %v, buffer %d", n, len(got), err, len(buf))
		}
	}
	torn := errors.New("torn")
	buf := make([]byte, firstRead)
	if _, err := readHead(&buf, io.MultiReader(strings.NewReader("x"), errReader{torn})); !errors.Is(err, torn) {
		t.Errorf("%v", err)
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// While a response is not read, however much of it has come, it holds no window to unzip it.
func TestUnzippedIsLazy(t *testing.T) {
	c := New(Options{})
	u := &unzipped{caller: c, r: strings.NewReader("")}
	if u.close(); u.z != nil {
		t.Error("it took a window before it was read")
	}
	if _, err := u.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an empty compressed body: %v", err)
	}
}
