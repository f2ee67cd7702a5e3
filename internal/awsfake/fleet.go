package awsfake

import (
	"sync"
)

// A fleet is what one region of one account holds.
type fleet struct {
	account, partition, region string
	serial                     int

	mu      sync.RWMutex
	lists   map[string][]item // by action; copied when it changes, so that a reader may keep what it took
	version int
}

// An item is one element of a listing, rendered. Its place in the listing never changes, so that a page token stays good
// while the fleet lives.
type item struct {
	seq   int
	count int      // resources in it: an item of DescribeInstances is a reservation
	id    string   // of the resource, or of its parent
	ids   []string // of the reservation's instances
	xml   []byte
}

func (f *fleet) items(action string) ([]item, int) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.lists[action], f.version
}

func (a *AWS) fleetOf(c *Account, region string) *fleet {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return c.fleets[region]
}

// AddInstances gives the account n instances in a region, with all that belongs to them: network, volumes, snapshots, images….
func (c *Account) AddInstances(region string, n int) {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	f := c.fleets[region]
	if f == nil {
		f = &fleet{account: c.ID, partition: c.Partition, region: region, lists: make(map[string][]item), version: 1}
		c.fleets[region] = f
	}
	f.launch(c.aws, n)
}

func (f *fleet) launch(a *AWS, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.lists["DescribeInstances"]
	for range n {
		seq := len(list) + 1
		id := "i-" + hexID(a, f, "instance", seq)
		m := &markup{depth: 2}
		m.in("item", func() {
			m.text("reservationId", "r-"+hexID(a, f, "reservation", seq))
			m.text("ownerId", f.account)
			m.list("groupSet", 0, nil)
			m.list("instancesSet", 1, func(int) {
				m.text("instanceId", id)
				m.in("instanceState", func() { m.int("code", 16); m.text("name", "running") })
				m.text("instanceType", "t3.micro")
			})
		})
		list = append(list, item{seq: seq, count: 1, id: id, ids: []string{id}, xml: m.b})
	}
	f.lists["DescribeInstances"] = list
	f.version++
}
