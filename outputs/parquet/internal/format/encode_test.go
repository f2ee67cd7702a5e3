package format

import (
	"encoding/hex"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"pgregory.net/rapid"
)

// The expected bytes were computed by hand from the protocol's specification.
func TestThriftBytes(t *testing.T) {
	for name, c := range map[string]struct {
		write func(*thriftWriter)
		want  string
	}{
		"nothing": {func(t *thriftWriter) {}, "00"},
		"numbers are zigzag": {func(t *thriftWriter) {
			t.i32(1, -1)
			t.i64(2, 150)
		}, "15 01 16 ac02 00"},
		"a byte": {func(t *thriftWriter) { t.i8(1, 64) }, "13 40 00"},
		"a boolean is a type": {func(t *thriftWriter) {
			t.boolean(1, true)
			t.boolean(2, false)
		}, "11 12 00"},
		"a long step": {func(t *thriftWriter) {
			t.i32(1, 0)
			t.i32(17, 1)
		}, "15 00 05 22 02 00"},
		"text": {func(t *thriftWriter) {
			t.text(4, "id")
			t.bytes(5, []byte{255})
		}, "48 026964 18 01ff 00"},
		"the outer structure continues its steps": {func(t *thriftWriter) {
			t.structField(2, func() { t.i32(1, 1) })
			t.i32(3, 1)
		}, "2c 15 02 00 15 02 00"},
		"a short list": {func(t *thriftWriter) {
			t.structList(1, 2, func(i int) { t.i32(1, i) })
		}, "19 2c 15 00 00 15 02 00 00"},
		"a long list": {func(t *thriftWriter) {
			t.list(1, thriftI32, 15)
			for range 15 {
				t.intElement(0)
			}
		}, "19 f5 0f 000000000000000000000000000000 00"},
	} {
		var w thriftWriter
		w.structBody(func() { c.write(&w) })
		want, err := hex.DecodeString(string(slices.DeleteFunc([]byte(c.want), func(b byte) bool { return b == ' ' })))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, w.b); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestThriftRoundTrip(t *testing.T) {
	type inner struct {
		N int64 `thrift:"1"`
	}
	type outer struct {
		N    int32   `thrift:"1"`
		Yes  bool    `thrift:"2"`
		Text string  `thrift:"5"`
		In   inner   `thrift:"6"`
		List []inner `thrift:"30"`
		Bits []bool  `thrift:"31"`
	}
	rapid.Check(t, func(t *rapid.T) {
		want := outer{N: rapid.Int32().Draw(t, "n"), Yes: rapid.Bool().Draw(t, "yes"), Text: rapid.String().Draw(t, "text"),
			In: inner{rapid.Int64().Draw(t, "in")}, List: []inner{}, Bits: []bool{}}
		for range rapid.IntRange(0, 40).Draw(t, "length") {
			want.List = append(want.List, inner{rapid.Int64().Draw(t, "element")})
			want.Bits = append(want.Bits, rapid.Bool().Draw(t, "bit"))
		}
		var w thriftWriter
		w.structBody(func() {
			w.i32(1, int(want.N))
			w.boolean(2, want.Yes)
			w.text(5, want.Text)
			w.structField(6, func() { w.i64(1, want.In.N) })
			w.structList(30, len(want.List), func(i int) { w.i64(1, want.List[i].N) })
			w.boolList(31, len(want.Bits), func(i int) bool { return want.Bits[i] })
		})
		got := outer{List: []inner{}, Bits: []bool{}}
		if err := thrift.Unmarshal(&thrift.CompactProtocol{}, w.b, &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

// The example of the format's specification: the numbers 0 to 7 in 3 bits each.
func TestHybridBytes(t *testing.T) {
	for name, c := range map[string]struct {
		numbers []uint32
		width   int
		want    []byte
	}{
		"packed":             {[]uint32{0, 1, 2, 3, 4, 5, 6, 7}, 3, []byte{1<<1 | 1, 0b10001000, 0b11000110, 0b11111010}},
		"filled with zeros":  {[]uint32{1, 0, 1}, 1, []byte{1<<1 | 1, 0b101}},
		"a run":              {slices.Repeat([]uint32{4}, 100), 3, []byte{200, 1, 4}},
		"a run of two bytes": {slices.Repeat([]uint32{0x1234}, 9), 13, []byte{18, 0x34, 0x12}},
		"too short a run":    {[]uint32{0, 1, 0, 1, 0, 1, 0, 1, 1, 1}, 1, []byte{2<<1 | 1, 0b10101010, 0b11}},
	} {
		got := appendHybrid(nil, c.numbers, c.width)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestHybridRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 31).Draw(t, "width")
		var want []int32
		for range rapid.IntRange(0, 30).Draw(t, "runs") {
			n := rapid.Int32Range(0, math.MaxInt32>>(31-width)).Draw(t, "number")
			want = append(want, slices.Repeat([]int32{n}, rapid.SampledFrom([]int{1, 1, 2, 7, 8, 9, 100}).Draw(t, "times"))...)
		}
		numbers := make([]uint32, len(want))
		for i, n := range want {
			numbers[i] = uint32(n)
		}
		got, err := (&rle.Encoding{BitWidth: width}).DecodeInt32(
			make([]int32, 0, len(want)),
			appendHybrid(nil, numbers, width),
		)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range got[min(len(want), len(got)):] {
			if n != 0 || len(got) >= len(want)+8 {
				t.Fatalf("more than was written: %v", got[len(want):])
			}
		}
		if d := cmp.Diff(want, got[:min(len(want), len(got))]); d != "" && len(want) > 0 {
			t.Fatal(d)
		}
	})
}
