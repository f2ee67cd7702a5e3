package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
)

// fillOptions describe a store full of resources.
type fillOptions struct {
	path                         string
	accounts, regions, resources int
}

var filledKinds = [...]string{"ec2_instance", "ec2_volume"}

func regionNames() []string {
	return []string{
		"us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-west-1", "eu-west-2", "eu-west-3", "eu-central-1",
		"eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "ap-east-1", "ap-south-1", "ap-south-2",
		"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
		"ap-southeast-4", "ap-southeast-5", "ap-southeast-7", "ca-central-1", "ca-west-1", "sa-east-1", "il-central-1",
		"me-central-1", "me-south-1", "af-south-1", "mx-central-1",
	}
}

// filledAccount is the name of an account, as buildOrganization gives it.
func filledAccount(i int) string { return fmt.Sprintf("account-%05d", i+1) }

// filledID is the hexadecimal part of a resource's id.
func filledID(n int) string {
	x := uint64(n+1) * 0x9e3779b97f4a7c15
	x ^= x >> 29
	return fmt.Sprintf("0%016x", x*0xbf58476d1ce4e5b9)
}

// fillOnce fills a store that does not exist yet, as the collector does.
func (b *bench) fillOnce(ctx context.Context, o fillOptions, org *organization) (err error) {
	if _, err := os.Stat(o.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	started := time.Now()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: o.path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	inv := inventory.New(s, inventory.Options{})
	targets, number := o.accounts*o.regions*len(filledKinds), 0
	for n := range targets {
		a := n / (o.regions * len(filledKinds))
		t := record.Target{
			Account: org.accounts[a].name, Region: org.regions[n/len(filledKinds)%o.regions],
			Kind: filledKinds[n%len(filledKinds)],
		}
		identity := record.Identity{AccountID: org.accounts[a].id, Partition: "aws"}
		p := new(record.Page)
		p.Reset(record.NewEnvelope(t, identity, []byte("{}"), "fill", started.UTC().Format(time.RFC3339)))
		for end := (n + 1) * o.resources / targets; number < end; number++ {
			addFilled(p, t.Kind, a, number)
		}
		w, err := inv.Begin(ctx, t, identity, "fill")
		if err == nil {
			err = w.Page(ctx, p)
		}
		if err == nil {
			err = w.End(ctx, record.Outcome{
				Target: t, Run: "fill", State: record.OK, Started: started, Records: p.Len(), Expected: true,
			})
		}
		if err != nil {
			return err
		}
		if (n+1)%(targets/10+1) == 0 {
			b.progress("%s resources stored after %s", formatCount(number), time.Since(started).Round(time.Second))
		}
	}
	return nil
}

// addFilled adds a resource to a page. Every text of its tags is common to many; its id, name and address are not.
func addFilled(p *record.Page, kind string, account, n int) {
	d := &p.Items
	text := func(before, s string) record.Span {
		d.Buf = append(d.Buf, before...)
		from := len(d.Buf)
		d.Buf = record.AppendQuote(d.Buf, s)
		return record.SpanOf(from, len(d.Buf))
	}
	p.BeginItem(1)
	if kind == filledKinds[0] {
		p.SetID(0, text(`{"InstanceId":`, "i-"+filledID(n)))
		text(`,"PrivateIpAddress":`, fmt.Sprintf("10.%d.%d.%d", account%250, n/250%250, n%250))
		text(`,"PrivateDnsName":`, fmt.Sprintf("ip-10-%d-%d-%d.compute.internal", account%250, n/250%250, n%250))
	} else {
		p.SetID(0, text(`{"VolumeId":`, "vol-"+filledID(n)))
	}
	tags := [][2]string{
		{"Name", fmt.Sprintf("web-%d-%d", account, n%9)}, {"owner", "platform"},
		{"team", fmt.Sprintf("team-%d", account%20)}, {"env", []string{"development", "staging", "production"}[account%3]},
	}
	before := `,"Tags":[`
	for _, tag := range tags {
		key := text(before+`{"Key":`, tag[0])
		value := text(`,"Value":`, tag[1])
		d.Buf = append(d.Buf, '}')
		p.AddTag(key, value)
		if tag[0] == "Name" {
			p.SetName(value)
		}
		before = ","
	}
	d.Buf = append(d.Buf, "]}"...)
	p.EndItem()
	p.EncodeLines("")
}
