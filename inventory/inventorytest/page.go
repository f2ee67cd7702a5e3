package inventorytest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/aws-collector/collector/record"
)

// An Item is a resource of a listing.
type Item struct {
	ID, State string
	Type      string
	Tags      map[string]string
	Volatile  string // a member that does not count as a change
	Pad       string
	Address   string // PrivateIpAddress; "": without one
}

// Target returns the target that the suite lists by default, and the identity of its account.
func Target() (record.Target, record.Identity) {
	return record.Target{Account: "prod", Region: "us-east-1", Kind: "ec2_instance"},
		record.Identity{
			AccountID: "222222222222",
			Partition: "aws",
			ARN:       "arn:aws:sts::222222222222:assumed-role/collector/collector",
		}
}

// Page returns a page of items, as a listing makes it.
func Page(t record.Target, identity record.Identity, run string, items ...Item) *record.Page {
	p := new(record.Page)
	p.Reset(record.NewEnvelope(t, identity, []byte(`{"team":"platform"}`), run, "2026-11-21T22:15:03Z"))
	for _, it := range items {
		d := &p.Items
		p.BeginItem(1)
		text := func(s string) record.Span {
			from := len(d.Buf)
			d.Buf = record.AppendQuote(d.Buf, s)
			return record.SpanOf(from, len(d.Buf))
		}
		d.Buf = append(d.Buf, `{"InstanceId":`...)
		p.SetID(0, text(it.ID))
		d.Buf = append(d.Buf, `,"State":{"Code":16,"Name":`...)
		p.SetState(0, text(it.State))
		d.Buf = append(d.Buf, `},"InstanceType":`...)
		p.SetType(0, text(it.Type))
		d.Buf = append(d.Buf, `,"Pad":`...)
		text(it.Pad)
		if it.Address != "" {
			d.Buf = append(d.Buf, `,"PrivateIpAddress":`...)
			text(it.Address)
		}
		d.Buf = append(d.Buf, ',')
		m := d.OpenMark(record.VolatileMark, len(d.Buf))
		d.Buf = append(d.Buf, `"Checked":`...)
		text(it.Volatile)
		d.CloseMark(m, len(d.Buf))
		d.Buf = append(d.Buf, `,"Tags":[`...)
		for i, k := range slices.Sorted(maps.Keys(it.Tags)) {
			if i > 0 {
				d.Buf = append(d.Buf, ',')
			}
			d.Buf = append(d.Buf, `{"Key":`...)
			key := text(k)
			d.Buf = append(d.Buf, `,"Value":`...)
			value := text(it.Tags[k])
			d.Buf = append(d.Buf, '}')
			p.AddTag(key, value)
			if k == "Name" {
				p.SetName(value)
			}
		}
		d.Buf = append(d.Buf, "]}"...)
		p.EndItem()
		p.EncodeLines("")
	}
	for v := range p.Views() {
		if !json.Valid(v.Line()) {
			panic(fmt.Sprintf("inventorytest: %s is not JSON", v.Line()))
		}
	}
	return p
}
