package equal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

func page(b *testing.B) []byte {
	item, err := os.ReadFile("../testdata/reservation.xml")
	if err != nil {
		b.Fatal(err)
	}
	var x bytes.Buffer
	x.WriteString(
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" +
			"<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\n    <reservationSet>\n",
	)
	for i := range 1000 {
		x.Write(bytes.Replace(item, []byte("@ID@"), fmt.Appendf(nil, "i-%017x", i), 1))
	}
	x.WriteString("    </reservationSet>\n</DescribeInstancesResponse>\n")
	return x.Bytes()
}

// BenchmarkDecode decodes one page of 1,000 instances to JSON with our decoder, and with the SDK's decoder and
// encoding/json. The ratio justifies a decoder of our own.
func BenchmarkDecode(b *testing.B) {
	xml := page(b)
	rate := func(b *testing.B) { b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "instances/s") }
	b.Run("sdk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			out, err := service.DecodeWithSDK("DescribeInstances", xml)
			if err != nil {
				b.Fatal(err)
			}
			var w bytes.Buffer
			enc := json.NewEncoder(&w)
			for _, r := range out.(*ec2.DescribeInstancesOutput).Reservations {
				for _, i := range r.Instances {
					if err := enc.Encode(i); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		rate(b)
	})
	b.Run("ours", func(b *testing.B) {
		g, err := awsxml.Compile(
			service.Format,
			awsxml.Spec{Op: "DescribeInstances", Items: "Reservations.Instances", ID: []string{"InstanceId"}},
		)
		if err != nil {
			b.Fatal(err)
		}
		s := record.NewEnvelope(record.Target{Account: "prod", Kind: "ec2_instance"}, record.Identity{}, []byte("{}"), "", "")
		var d awsxml.Decoder
		var p record.Page
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Decode(g, awsxml.Options{Envelope: s}, bytes.NewReader(xml), &p); err != nil {
				b.Fatal(err)
			}
		}
		rate(b)
	})
}
