package collectors

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/collectors/internal/call"
	"github.com/aws-collector/collector/record"
)

// A Service is an AWS service whose resources are kinds: all that its kinds have in common.
type Service struct {
	Name      string // "ec2": the first word of its kinds' names
	IAMPrefix string // "ec2": of its IAM actions
	DocURL    string // of its API reference; the operation's name and .html follow

	// Global means that the service has no regions: its kinds are listed once an account, through the region that
	// [Region] returns.
	Global bool

	// Absent are the regions without the service, of those that the SDK's endpoint data has for EC2. A region that is
	// newer than the data counts as one that has it. A test in servicestest compares the list with the SDK's.
	Absent []string

	// AWS's bucket for an API in one account and region, unless the kind's row has another.
	Refill float64 // calls a second
	Burst  int
	Shared bool // all APIs of the service take from one bucket

	// SmallestPage is the smallest page that all APIs of the service accept, for [Lister.Check]; 0: one resource.
	SmallestPage int

	// GoneCode is the error code for a parent that does not exist, if its name does not say so as NotFound does.
	GoneCode string

	LeftOut []Omission // the operations that list or describe and have no kind, sorted

	errorsURL string        // AWS's page of the error codes
	api       call.Service  // how to call it
	format    awsxml.Format // what its responses have in common
}

// Services are all services, sorted by name. They are never modified. Endpoint, signing and User-Agent are not here:
// the SDK's client of EC2 decides about them, see [call.Recorder].
var Services = []Service{
	{
		Name:      "autoscaling",
		IAMPrefix: "autoscaling",
		DocURL:    "https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_",
		// AWS documents that all APIs share one bucket, but not its size. The values are half of EC2's for one API.
		// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/Welcome.html
		Refill: 10, Burst: 50, Shared: true,
		GoneCode:  "ValidationError",
		errorsURL: "https://docs.aws.amazon.com/autoscaling/ec2/APIReference/CommonErrors.html",
		api: call.Service{
			ID: "Auto Scaling", Version: "2011-01-01", PageSize: "MaxRecords", PageToken: "NextToken",
			Prepare: call.PrepareAWSQuery("Auto Scaling", "autoscaling"), ReadError: call.ReadAWSQueryError,
		},
		format:  awsxml.AWSQuery("autoscaling"),
		LeftOut: autoscalingLeftOut,
	},
	{
		Name:      "cloudformation",
		IAMPrefix: "cloudformation",
		DocURL:    "https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_",
		// AWS documents no bucket. The values are half of EC2's for one API, for all APIs together.
		Refill: 10, Burst: 50, Shared: true,
		GoneCode:  "ValidationError", // of stacks; that of stack sets is StackSetNotFoundException
		errorsURL: "https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/CommonErrors.html",
		api: call.Service{
			ID: "CloudFormation", Version: "2010-05-15", PageSize: "MaxResults", PageToken: "NextToken",
			Prepare: call.PrepareAWSQuery("CloudFormation", "cloudformation"), ReadError: call.ReadAWSQueryError,
		},
		format:  cloudformationFormat(),
		LeftOut: cloudformationLeftOut,
	},
	{
		Name:      "ec2",
		IAMPrefix: "ec2",
		DocURL:    "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_",
		// Seven APIs have 10 and 50 for calls without a filter and MaxResults, but the collector's calls always have
		// MaxResults there. https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
		Refill: 20, Burst: 100,
		SmallestPage: 5, // of APIs without dry run: some accept 5 to 500 or 1,000, one 1 to 10
		errorsURL:    "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html",
		api: call.Service{
			ID: "EC2", Version: call.EC2Version, PageSize: "MaxResults", PageToken: "NextToken", DryRun: "DryRun",
			Prepare: call.PrepareEC2, ReadError: call.ReadEC2Error,
		},
		format:  awsxml.EC2Query(),
		LeftOut: ec2LeftOut,
	},
	{
		Name:      "elasticache",
		IAMPrefix: "elasticache",
		DocURL:    "https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_",
		// AWS documents that calls are throttled, but neither the buckets nor their size. The values are half of EC2's for
		// one API. https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/CommonErrors.html
		Refill: 10, Burst: 50, Shared: true,
		SmallestPage: 20,
		errorsURL:    "https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/CommonErrors.html",
		api: call.Service{
			ID: "ElastiCache", Version: "2015-02-02", PageSize: "MaxRecords", PageToken: "Marker",
			Prepare: call.PrepareAWSQuery("ElastiCache", "elasticache"), ReadError: call.ReadAWSQueryError,
		},
		format:  awsxml.AWSQueryMarker("elasticache"),
		LeftOut: elasticacheLeftOut,
	},
	{
		Name:      "elb",
		IAMPrefix: "elasticloadbalancing",
		DocURL:    "https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_",
		// All actions that only read share one bucket; each version of the API has its own.
		// https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-throttling.html
		Refill: 10, Burst: 40, Shared: true,
		errorsURL: "https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/CommonErrors.html",
		api: call.Service{
			ID: "Elastic Load Balancing", Version: "2012-06-01", PageSize: "PageSize", PageToken: "Marker",
			Prepare:   call.PrepareAWSQuery("Elastic Load Balancing", "elasticloadbalancing"),
			ReadError: call.ReadAWSQueryError,
		},
		format:  elbFormat("elasticloadbalancing"),
		LeftOut: elbLeftOut,
	},
	{
		Name:      "elbv2",
		IAMPrefix: "elasticloadbalancing",
		DocURL:    "https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_",
		Refill:    10, Burst: 40, Shared: true, // as for elb
		errorsURL: "https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/CommonErrors.html",
		api: call.Service{
			ID: "Elastic Load Balancing v2", Version: "2015-12-01", PageSize: "PageSize", PageToken: "Marker",
			Prepare:   call.PrepareAWSQuery("Elastic Load Balancing v2", "elasticloadbalancing"),
			ReadError: call.ReadAWSQueryError,
		},
		format:  elbFormat("elasticloadbalancingv2"),
		LeftOut: elbv2LeftOut,
	},
	{
		Name:      "iam",
		IAMPrefix: "iam",
		DocURL:    "https://docs.aws.amazon.com/IAM/latest/APIReference/API_",
		Global:    true,
		// AWS documents neither the buckets nor which APIs share one: "Throttling: the request was denied due to request
		// throttling". The values are half of EC2's for one API, for all APIs together.
		// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
		Refill: 10, Burst: 50, Shared: true,
		GoneCode:  "NoSuchEntity",
		errorsURL: "https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html",
		api: call.Service{
			ID: "IAM", Version: "2010-05-08", PageSize: "MaxItems", PageToken: "Marker",
			Prepare: call.PrepareAWSQueryAt("IAM", "iam", iamHosts), ReadError: call.ReadAWSQueryError,
		},
		format:  iamFormat(),
		LeftOut: iamLeftOut,
	},
	{
		Name:      "rds",
		IAMPrefix: "rds",
		DocURL:    "https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_",
		// AWS documents that calls are throttled by account and region, but neither the buckets nor their size. The
		// values are half of EC2's for one API. https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/CommonErrors.html
		Refill: 10, Burst: 50, Shared: true,
		SmallestPage: 20,
		errorsURL:    "https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/CommonErrors.html",
		api: call.Service{
			ID: "RDS", Version: "2014-10-31", PageSize: "MaxRecords", PageToken: "Marker",
			Prepare: call.PrepareAWSQuery("RDS", "rds"), ReadError: call.ReadAWSQueryError,
		},
		format:  awsxml.AWSQueryMarker("rds"),
		LeftOut: rdsLeftOut,
	},
	{
		Name:      "redshift",
		IAMPrefix: "redshift",
		DocURL:    "https://docs.aws.amazon.com/redshift/latest/APIReference/API_",
		// AWS documents that calls are throttled, but neither the buckets nor their size. The values are half of EC2's for
		// one API. https://docs.aws.amazon.com/redshift/latest/APIReference/CommonErrors.html
		Refill: 10, Burst: 50, Shared: true,
		SmallestPage: 20,
		errorsURL:    "https://docs.aws.amazon.com/redshift/latest/APIReference/CommonErrors.html",
		api: call.Service{
			ID: "Redshift", Version: "2012-12-01", PageSize: "MaxRecords", PageToken: "Marker",
			Prepare: call.PrepareAWSQuery("Redshift", "redshift"), ReadError: call.ReadAWSQueryError,
		},
		format:  awsxml.AWSQueryMarker("redshift"),
		LeftOut: redshiftLeftOut,
	},
}

// elbFormat is the format of both APIs of Elastic Load Balancing.
func elbFormat(service string) awsxml.Format {
	f := awsxml.AWSQuery(service)
	f.Token, f.Tag = "NextMarker", "Tag"
	return f
}

// iamFormat is AWSQuery's format with the names of IAM.
func iamFormat() awsxml.Format {
	f := awsxml.AWSQuery("iam")
	f.Token, f.PageSize, f.Tag = "Marker", "IsTruncated", "Tag"
	return f
}

func cloudformationFormat() awsxml.Format {
	f := awsxml.AWSQuery("cloudformation")
	f.Tag = "Tag"
	return f
}

// Service returns the service of a kind. A test checks that each kind has one.
func (k *Kind) Service() *Service {
	for i := range Services {
		if strings.HasPrefix(k.Name, Services[i].Name+"_") {
			return &Services[i]
		}
	}
	return nil
}

// unavailable returns an error if the service is not in a region.
func (s *Service) unavailable(region string) error {
	if !slices.Contains(s.Absent, region) {
		return nil
	}
	return &record.Fault{
		Reason: record.Unavailable,
		Hint:   "Nothing to do: AWS does not have " + s.api.ID + " in " + region + ".",
		Err:    fmt.Errorf("%s is not available in %s", s.api.ID, region),
	}
}

// Region returns the region to call for a target's region: for [record.GlobalRegion] the one in which the partition's
// global services are, as IAM's endpoints have it. https://docs.aws.amazon.com/general/latest/gr/iam-service.html
func Region(target string, part record.Partition) string {
	if target == record.GlobalRegion {
		return part.DefaultRegion
	}
	return target
}

// ShortKind is the name of a kind without its service: "volume" for ec2_volume.
func ShortKind(name string) string {
	for i := range Services {
		if short, ok := strings.CutPrefix(name, Services[i].Name+"_"); ok {
			return short
		}
	}
	return name
}
