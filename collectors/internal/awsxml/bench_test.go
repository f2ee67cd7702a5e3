package awsxml_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

var instances = awsxml.Spec{
	Op:       "DescribeInstances",
	Items:    "Reservations.Instances",
	ID:       []string{"InstanceId"},
	Volatile: []string{"UsageOperationUpdateTime"},
}

// pageOf returns a response with n instances, each in its own reservation, indented like EC2's.
func pageOf(tb testing.TB, n int) []byte {
	item, err := os.ReadFile("testdata/reservation.xml")
	if err != nil {
		tb.Fatal(err)
	}
	b := bytes.NewBufferString(`<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
    <requestId>8f7724cf-496f-496e-8fe3-example</requestId>
    <reservationSet>
`)
	for i := range n {
		b.Write(bytes.Replace(item, []byte("@ID@"), fmt.Appendf(nil, "i-%017x", i), 1))
	}
	b.WriteString("    </reservationSet>\n    <nextToken>next</nextToken>\n</DescribeInstancesResponse>\n")
	return b.Bytes()
}

func stamp() *record.Envelope {
	return record.NewEnvelope(
		record.Target{Account: "prod", Region: "us-east-1", Kind: "ec2_instance"},
		record.Identity{
			AccountID: "222222222222",
			Partition: "aws",
		},
		[]byte(`{"team":"platform"}`),
		"01JD",
		"2026-11-21T22:15:03Z",
	)
}

// BenchmarkDecode decodes a page of 1,000 instances, 10 KB of XML each. BenchmarkDecode of package equal compares with
// the SDK.
func BenchmarkDecode(b *testing.B) {
	xml := pageOf(b, 1000)
	g, err := awsxml.Compile(format, instances)
	if err != nil {
		b.Fatal(err)
	}
	var d awsxml.Decoder
	var p record.Page
	o := awsxml.Options{Envelope: stamp()}
	b.SetBytes(int64(len(xml)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(g, o, bytes.NewReader(xml), &p); err != nil {
			b.Fatal(err)
		}
	}
	if p.Len() != 1000 || p.Unknown() != 0 {
		b.Fatal(p.Len(), p.Unknown())
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "instances/s")
}

// BenchmarkSum computes the content hashes of the same page.
func BenchmarkSum(b *testing.B) {
	g, err := awsxml.Compile(format, instances)
	if err != nil {
		b.Fatal(err)
	}
	var d awsxml.Decoder
	var p record.Page
	if _, err := d.Decode(g, awsxml.Options{Envelope: stamp()}, bytes.NewReader(pageOf(b, 1000)), &p); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for v := range p.Views() {
			_ = v.Digest()
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "instances/s")
}
