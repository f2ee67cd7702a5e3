package fairqueue

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// However slots are requested, cancelled and released: never more than all, never more than an eighth for one account,
// and no item waits while it could have a slot.
func TestFair(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := New[int](rapid.IntRange(0, 20).Draw(rt, "slots"))
		held, waits := map[string]int{}, map[string]*[2][]int{"a": {}, "b": {}, "c": {}}
		next := 0
		waiting := func(a string) bool { return len(waits[a][0])+len(waits[a][1]) > 0 }
		name, class := rapid.SampledFrom([]string{"a", "b", "c"}), rapid.IntRange(0, 1)
		could := func() string {
			for a := range waits {
				if waiting(a) && f.used < f.max && held[a] < f.perAccount {
					return a
				}
			}
			return ""
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				used := 0
				for a, n := range held {
					if used += n; n > f.perAccount {
						rt.Fatalf("%s has %d of %d", a, n, f.max)
					}
				}
				if used != f.used || used > f.max {
					rt.Fatalf("used %d, counted %d, of %d", f.used, used, f.max)
				}
			},
			"push": func(rt *rapid.T) {
				a, c := name.Draw(rt, "account"), class.Draw(rt, "class")
				f.Push(a, c, next)
				waits[a][c] = append(waits[a][c], next)
				next++
			},
			"pop": func(rt *rapid.T) {
				first, could := class.Draw(rt, "class"), could()
				a, x, ok := f.Pop(first)
				if !ok {
					if could != "" {
						rt.Fatal(could, "could have had a slot")
					}
					return
				}
				c := first
				if !slices.Contains(waits[a][c], x) {
					c = 1 - first
					for a, w := range waits {
						if len(w[first]) > 0 && held[a] < f.perAccount {
							rt.Fatal(a, "is of the class that goes first")
						}
					}
				}
				if waits[a][c][0] != x {
					rt.Fatal("out of order", x, waits[a])
				}
				waits[a][c] = waits[a][c][1:]
				held[a]++
			},
			"try": func(rt *rapid.T) {
				a, before := name.Draw(rt, "account"), could()
				if f.TryAcquire(a) {
					if held[a]++; before != "" {
						rt.Fatal(a, "went before", before)
					}
				} else if before == "" && f.used < f.max && held[a] < f.perAccount {
					rt.Fatal(a, "was refused a free slot")
				}
			},
			"release": func(rt *rapid.T) {
				if a := name.Draw(rt, "account"); held[a] > 0 {
					held[a]--
					f.Release(a)
				}
			},
			"remove": func(rt *rapid.T) {
				a := name.Draw(rt, "account")
				for c, w := range waits[a] {
					if len(w) > 0 {
						if f.Remove(a, func(y int) bool { return y == w[0] }) != 1 {
							rt.Fatal("not removed")
						}
						waits[a][c] = w[1:]
						return
					}
				}
			},
		})
		for a := range held {
			for ; held[a] > 0; held[a]-- {
				f.Release(a)
			}
			f.Remove(a, func(int) bool { return true })
		}
		for a := range waits {
			f.Remove(a, func(int) bool { return true })
		}
		f.HasWaiting() // removes accounts from the ready list that have nothing waiting
		if len(f.accounts) != 0 {
			rt.Fatal("kept for nothing:", len(f.accounts))
		}
	})
}

func TestAccountsTakeTurns(t *testing.T) {
	f := New[string](1)
	for i := range 1000 {
		f.Push("big", 0, fmt.Sprint(i))
	}
	f.Push("small", 0, "x")
	for want := range 3 {
		a, x, ok := f.Pop(0)
		if want == 1 && x != "x" {
			t.Error("the second slot went to", a, x, ok)
		}
		f.Release(a)
	}
}
