// Package equal compares awsxml with the SDK's decoder. It is separate from awsxml because service/ec2 takes minutes to
// compile; awsxml's other tests do not need it.
package equal

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/middleware"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/collectors/internal/awsxml/equaltest"
)

// format is EC2's, in which MaxResults is a member as others: it is compared, too.
func format() awsxml.Format {
	f := awsxml.EC2Query()
	f.PageSize = ""
	return f
}

var service = equaltest.Service{
	Format: format(),
	Client: func(http aws.HTTPClient) any {
		return ec2.New(ec2.Options{
			Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: http,
			APIOptions: []func(*middleware.Stack) error{equaltest.WithoutValidation},
		})
	},
}

func TestEveryOperationEqualsTheSDK(t *testing.T) { service.EveryOperation(t, 190) }

// TestRepeatedMembersEqualTheSDK repeats members: texts, lists and structures, adjacent and apart.
func TestRepeatedMembersEqualTheSDK(t *testing.T) {
	o, _ := awsxml.Describe("ec2", "DescribeInstances")
	for seed := range 300 {
		w := equaltest.NewWriter(uint64(seed), 7, seed%2 == 0)
		var b bytes.Buffer
		b.WriteString("<DescribeInstancesResponse><reservationSet><item><instancesSet>")
		item, _ := o.Output.Path("Reservations.Instances")
		for range 1 + w.IntN(2) {
			b.WriteString("<item>")
			for range 2 + w.IntN(3) {
				b.Write(w.Members(item.Elem()))
			}
			b.WriteString("</item>")
		}
		b.WriteString("</instancesSet></item></reservationSet></DescribeInstancesResponse>")
		if err := service.Equal(o, b.Bytes(), false); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, b.Bytes())
		}
	}
}

// TestNamesInAnyCase checks that case is ignored, like by strings.EqualFold in the SDK's decoder.
func TestNamesInAnyCase(t *testing.T) {
	o, _ := awsxml.Describe("ec2", "DescribeVolumes")
	doc := []byte(
		`<DescribeVolumesResponse><VOLUMESET><ITEM><volumeid>vol-1</volumeid><TagSet><item><KEY>a</KEY><Value>b</Value>` +
			`</item></TagSet></ITEM></VOLUMESET><NextToken>t</NextToken></DescribeVolumesResponse>`,
	)
	if err := service.Equal(o, doc, false); err != nil {
		t.Error(err)
	}
}
