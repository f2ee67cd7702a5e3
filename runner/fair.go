package runner

// fair hands out places: max in all, each to one account at most, and in turn between the accounts that wait. So one
// account with a thousand things to do delays another's first by one place, not by a thousand. What waits is of one of two
// classes, and whoever pops says which goes first. It has no lock: its owner does. An account that neither holds nor
// waits takes no memory.
type fair[T any] struct {
	max, each int
	used      int
	accounts  map[string]*share[T]
	turn      [2][]*share[T] // by class: accounts with something waiting and a place left to them, next first
}

type share[T any] struct {
	account string
	used    int
	waiting [2][]T
	inTurn  [2]bool
}

// newFair keeps an eighth of the places as the most that one account may hold.
func newFair[T any](places int) *fair[T] {
	places = max(places, 1)
	return &fair[T]{max: places, each: max(places/8, 1), accounts: map[string]*share[T]{}}
}

func (f *fair[T]) share(account string) *share[T] {
	s := f.accounts[account]
	if s == nil {
		s = &share[T]{account: account}
		f.accounts[account] = s
	}
	return s
}

// tidy puts an account in line, or out of memory.
func (f *fair[T]) tidy(s *share[T]) {
	keep := s.used > 0
	for c := range s.waiting {
		if len(s.waiting[c]) > 0 && s.used < f.each && !s.inTurn[c] {
			s.inTurn[c] = true
			f.turn[c] = append(f.turn[c], s)
		}
		keep = keep || len(s.waiting[c]) > 0 || s.inTurn[c]
	}
	if !keep {
		delete(f.accounts, s.account)
	}
}

// push lets x wait for its account's turn.
func (f *fair[T]) push(account string, class int, x T) {
	s := f.share(account)
	s.waiting[class] = append(s.waiting[class], x)
	f.tidy(s)
}

// pop takes a place for whoever's turn it is, in this class if anybody waits there.
func (f *fair[T]) pop(first int) (account string, x T, ok bool) {
	for _, c := range [2]int{first, 1 - first} {
		for f.used < f.max && len(f.turn[c]) > 0 {
			s := f.turn[c][0]
			f.turn[c][0] = nil
			f.turn[c] = f.turn[c][1:]
			s.inTurn[c] = false
			if w := s.waiting[c]; len(w) > 0 && s.used < f.each { // else it was removed from, or has had its places, since
				var none T
				x, w[0] = w[0], none
				s.waiting[c] = w[1:]
				s.used++
				f.used++
				ok = true
			}
			f.tidy(s)
			if ok {
				return s.account, x, true
			}
		}
	}
	return "", x, false
}

// try takes a place at once, but never before someone who waits and could have it.
func (f *fair[T]) try(account string) bool {
	if f.used >= f.max || f.wanted() {
		return false
	}
	s := f.share(account)
	if s.used >= f.each {
		return false
	}
	s.used++
	f.used++
	return true
}

func (f *fair[T]) release(account string) {
	s := f.accounts[account]
	s.used--
	f.used--
	f.tidy(s)
}

// remove drops what waits and matches, and says how much that was.
func (f *fair[T]) remove(account string, match func(T) bool) (n int) {
	s := f.accounts[account]
	if s == nil {
		return 0
	}
	for c, waiting := range s.waiting {
		kept := waiting[:0]
		for _, x := range waiting {
			if match(x) {
				n++
			} else {
				kept = append(kept, x)
			}
		}
		clear(waiting[len(kept):])
		s.waiting[c] = kept
	}
	f.tidy(s)
	return n
}

// wanted reports whether an account is in line for a place.
func (f *fair[T]) wanted() bool {
	for c, turn := range f.turn {
		for len(turn) > 0 && (len(turn[0].waiting[c]) == 0 || turn[0].used >= f.each) { // it was removed from, or has had its places, since
			s := turn[0]
			turn[0] = nil
			turn = turn[1:]
			f.turn[c] = turn
			s.inTurn[c] = false
			f.tidy(s)
		}
		if len(turn) > 0 {
			return true
		}
	}
	return false
}

func (f *fair[T]) resize(places int) {
	f.max = max(places, 1)
	f.each = max(f.max/8, 1)
	for _, s := range f.accounts {
		f.tidy(s)
	}
}
