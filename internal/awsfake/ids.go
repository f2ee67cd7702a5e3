package awsfake

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/aws-collector/collector/record"
)

// id returns a resource's id: "i-0123456789abcdef0". With an empty prefix it is "-" and the seventeen digits.
func (f *regionResources) id(prefix, kind string, n int) string {
	return prefix + "-0" + hex.EncodeToString(f.aws.derive("id", f.owner, f.region, kind, strconv.Itoa(n)))[:16]
}

func uuid(b []byte) string {
	h := hex.EncodeToString(b[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func dnsSuffix(partition string) string {
	p, _ := record.PartitionNamed(partition)
	return p.DNSSuffix
}

// publicIP returns an address of the three blocks that RFC 5737 reserves for examples, so they repeat among many
// instances.
func publicIP(r *rand.Rand) string {
	return pick(r, []string{"192.0.2.", "198.51.100.", "203.0.113."}) + strconv.Itoa(1+r.IntN(254))
}

func (f *regionResources) privateName(ip string) string {
	name := "ip-" + strings.ReplaceAll(ip, ".", "-")
	if f.region == "us-east-1" {
		return name + ".ec2.internal"
	}
	return name + "." + f.region + ".compute.internal"
}

func (f *regionResources) publicName(ip string) string {
	if ip == "" {
		return ""
	}
	name := "ec2-" + strings.ReplaceAll(ip, ".", "-")
	if f.region == "us-east-1" {
		return name + ".compute-1." + f.dnsSuffix
	}
	return name + "." + f.region + ".compute." + f.dnsSuffix
}

func (f *regionResources) arn(resource string) string {
	return fmt.Sprintf("arn:%s:ec2:%s:%s:%s", f.partition, f.region, f.owner, resource)
}
