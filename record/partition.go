package record

import (
	"regexp"
	"slices"
	"strings"
)

// A Partition is a part of AWS that shares nothing with the others: no key, no role, no region.
type Partition struct {
	ID            string // as in an ARN
	DNSSuffix     string
	DefaultRegion string   // STS is called here if the configuration names no region
	Regions       []string // those known to the SDK when this list was made; sorted
	regionPattern *regexp.Regexp
}

// Partitions lists every partition. The names, suffixes and patterns are those of aws-sdk-go-v2's
// internal/endpoints/awsrulesfn/partitions.json, which the SDK does not export; a test in collectors compares the two.
var Partitions = []Partition{
	{"aws", "amazonaws.com", "us-east-1", []string{
		"af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1",
		"ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
		"ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1",
		"eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1",
		"me-south-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
	}, regexp.MustCompile(`^(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+$`)},
	{"aws-cn", "amazonaws.com.cn", "cn-north-1", []string{"cn-north-1", "cn-northwest-1"},
		regexp.MustCompile(`^cn-\w+-\d+$`)},
	{"aws-eusc", "amazonaws.eu", "eusc-de-east-1", []string{"eusc-de-east-1"}, regexp.MustCompile(`^eusc-(de)-\w+-\d+$`)},
	{"aws-iso", "c2s.ic.gov", "us-iso-east-1", []string{"us-iso-east-1", "us-iso-west-1"},
		regexp.MustCompile(`^us-iso-\w+-\d+$`)},
	{"aws-iso-b", "sc2s.sgov.gov", "us-isob-east-1", []string{"us-isob-east-1", "us-isob-west-1"},
		regexp.MustCompile(`^us-isob-\w+-\d+$`)},
	{"aws-iso-e", "cloud.adc-e.uk", "eu-isoe-west-1", []string{"eu-isoe-west-1"}, regexp.MustCompile(`^eu-isoe-\w+-\d+$`)},
	{"aws-iso-f", "csp.hci.ic.gov", "us-isof-south-1", []string{"us-isof-east-1", "us-isof-south-1"},
		regexp.MustCompile(`^us-isof-\w+-\d+$`)},
	{"aws-us-gov", "amazonaws.com", "us-gov-west-1", []string{"us-gov-east-1", "us-gov-west-1"},
		regexp.MustCompile(`^us-gov-\w+-\d+$`)},
}

// enabledByDefault is every region of partition aws that an account has without opting in. The list is final: regions
// introduced after 20 March 2019 are opt-in.
//
//	https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html
var enabledByDefault = []string{
	"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
	"ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1",
	"us-east-2", "us-west-1", "us-west-2",
}

// IsOptIn reports whether an account must opt in to the region. Only partition aws has such regions.
func (p Partition) IsOptIn(region string) bool {
	return p.ID == "aws" && !slices.Contains(enabledByDefault, region)
}

// PartitionNamed finds a partition by its id in ARNs.
func PartitionNamed(id string) (Partition, bool) {
	i := slices.IndexFunc(Partitions, func(p Partition) bool { return p.ID == id })
	if i < 0 {
		return Partition{}, false
	}
	return Partitions[i], true
}

// PartitionOf finds the partition of a region by the form of the region's name, so it also works for regions newer than
// the list.
func PartitionOf(region string) (Partition, bool) {
	i := slices.IndexFunc(Partitions, func(p Partition) bool { return p.regionPattern.MatchString(region) })
	if i < 0 {
		return Partition{}, false
	}
	return Partitions[i], true
}

// PartitionOfARN returns the partition of an ARN, or "" if arn is not an ARN.
func PartitionOfARN(arn string) string {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		return ""
	}
	return f[1]
}

// AccountOfARN returns the account id of an ARN, or "" if arn is not an ARN.
func AccountOfARN(arn string) string {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		return ""
	}
	return f[4]
}
