package collectors

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

// facts is a line of testdata/ec2-operations.tsv, with data of AWS's service model that the SDK's source lacks.
type facts struct {
	paginated bool
	min, max  int // of MaxResults; 0 where the model has none
	sensitive []string
}

func readFacts(t *testing.T) map[string]facts {
	t.Helper()
	f, err := os.Open("testdata/ec2-operations.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]facts{}
	for s := bufio.NewScanner(f); s.Scan(); {
		c := strings.Split(s.Text(), "\t")
		if !strings.HasPrefix(c[0], "Describe") {
			continue
		}
		x := facts{paginated: c[1] == "yes"}
		if lo, hi, ok := strings.Cut(c[2], "-"); ok {
			x.min, _ = strconv.Atoi(lo)
			x.max, _ = strconv.Atoi(hi)
		}
		if len(c) > 6 && c[6] != "" {
			x.sensitive = strings.Split(c[6], ",")
		}
		out[c[0]] = x
	}
	if len(out) < 180 {
		t.Fatalf("only %d operations in the facts", len(out))
	}
	return out
}

// Each kind has a service.
func TestEachKindHasAService(t *testing.T) {
	for i := range Kinds {
		if s := Kinds[i].Service(); s == nil || ShortKind(Kinds[i].Name) == Kinds[i].Name {
			t.Errorf("%s has no service", Kinds[i].Name)
		}
	}
	if got := ShortKind("other_volume"); got != "other_volume" {
		t.Errorf("the short name of another service's kind is %q", got)
	}
}

// withSlash are the members of ids of several members whose values may have a "/", by AWS's patterns.
var withSlash = map[string]string{
	"ec2_application_status_check_association.Key":      "a tag's key",
	"ec2_application_status_check_association.Value":    "a tag's value",
	"ec2_client_vpn_authorization_rule.DestinationCidr": "a CIDR block",
	"ec2_client_vpn_route.DestinationCidr":              "a CIDR block",
	"ec2_image_reference.Arn":                           "arn:aws:ec2:REGION:ACCOUNT:instance/ID",
	"ec2_tag.Key":                                       "a tag's key",
	"ec2_vpc_endpoint_service_permission.Principal":     "arn:aws:iam::ACCOUNT:role/NAME",
	"elbv2_listener_certificate.CertificateArn":         "arn:aws:acm:REGION:ACCOUNT:certificate/ID",
	"elbv2_listener_certificate.ListenerArn":            "arn:aws:elasticloadbalancing:REGION:ACCOUNT:listener/app/…",
	"elbv2_target_health.Target.Id":                     "the ARN of a load balancer or function",
	"elbv2_target_health.TargetGroupArn":                "arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/…",
	"elbv2_trust_store_association.ResourceArn":         "arn:aws:elasticloadbalancing:REGION:ACCOUNT:listener/app/…",
	"elbv2_trust_store_association.TrustStoreArn":       "arn:aws:elasticloadbalancing:REGION:ACCOUNT:truststore/…",
	"elbv2_trust_store_revocation.TrustStoreArn":        "arn:aws:elasticloadbalancing:REGION:ACCOUNT:truststore/…",
	"cloudformation_stack_resource.StackName":           "arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/ID",
	// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html: XmlStringMaxLen255
	"autoscaling_lifecycle_hook.AutoScalingGroupName":             `[\u0020-\uD7FF…]*`,
	"autoscaling_lifecycle_hook.LifecycleHookName":                `[A-Za-z0-9\-_\/]+`,
	"autoscaling_notification_configuration.AutoScalingGroupName": `[\u0020-\uD7FF…]*`,
	"autoscaling_policy.AutoScalingGroupName":                     `[\u0020-\uD7FF…]*`,
	"autoscaling_policy.PolicyName":                               `[\u0020-\uD7FF…]*`,
	"autoscaling_scheduled_action.AutoScalingGroupName":           `[\u0020-\uD7FF…]*`,
	"autoscaling_scheduled_action.ScheduledActionName":            `[\u0020-\uD7FF…]*`,
}

// withoutSlash are the members that have none: ids, regions and Availability Zones, types from a fixed list, numbers,
// and names of letters, digits and hyphens: those of classic load balancers and of their policies.
var withoutSlash = regexp.MustCompile(`(Id|^Source|^Destination|^Metric|^Statistic|Date|AvailabilityZone|Type|Number|` +
	`TargetSubnet|TopicARN|^Account|^Region|LoadBalancerName|PolicyName|Port|DBSnapshotIdentifier|ClusterIdentifier|` +
	`Grantee)$`)

// The ids of two resources of a kind differ: at most one member may have a "/" that is not escaped. Released ids stay
// as they are. So two associations of one status check have one id if a tag's key and value differ only in where the
// key ends, such as a/b=c and a=b/c.
func TestIDsOfSeveralMembersDoNotCollide(t *testing.T) {
	for i := range Kinds {
		k := &Kinds[i]
		members := strings.Split(k.ID, "/")
		if len(members) == 1 {
			continue
		}
		var open []string
		for _, m := range members {
			switch slash := withSlash[k.Name+"."+m] != ""; {
			case slash && !slices.Contains(k.Escaped, m):
				open = append(open, m)
			case !slash && (!withoutSlash.MatchString(m) || slices.Contains(k.Escaped, m)):
				t.Errorf("%s: may %s have a \"/\" by AWS's pattern? Add it to withSlash or to withoutSlash", k.Name, m)
			}
		}
		if len(open) > 1 && k.Name != "ec2_application_status_check_association" {
			t.Errorf("%s: %q may both have a \"/\"; add one to Escaped", k.Name, open)
		}
	}
}

// unpaged are the APIs whose bucket is half as large for calls with neither a filter nor MaxResults.
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html#throttling-limits-rate-based
var unpaged = []string{
	"DescribeInstances",
	"DescribeInstanceStatus",
	"DescribeNetworkInterfaces",
	"DescribeSecurityGroups",
	"DescribeSnapshots",
	"DescribeSpotInstanceRequests",
	"DescribeVolumes",
}

func TestKinds(t *testing.T) {
	known := readFacts(t)
	word := regexp.MustCompile(`^(autoscaling|cloudformation|ec2|elasticache|elb|elbv2|iam|rds|redshift)(_[a-z0-9]+)+$`)
	if len(Kinds) < 130 {
		t.Errorf("%d kinds", len(Kinds))
	}
	ops := map[string]string{}
	for i := range Kinds {
		k := &Kinds[i]
		t.Run(k.Name, func(t *testing.T) {
			if i > 0 && Kinds[i-1].Name >= k.Name {
				t.Errorf("is listed after %s", Kinds[i-1].Name)
			}
			if !word.MatchString(k.Name) {
				t.Error("not a valid name of a kind")
			}
			if got, ok := KindNamed(k.Name); !ok || got != k {
				t.Error("KindNamed does not find it")
			}
			list := fmt.Sprint(k.Service().Name, ":", k.Op, k.Params["Filter.member.1"]) // the filter of IAM selects the list
			if other := ops[list]; other != "" {
				t.Errorf("%s has the kind %s already", list, other)
			}
			ops[list] = k.Name
			api := k.Service().api
			op, ok := k.operation()
			if !ok {
				t.Fatalf("the SDK has no %s", k.Op)
			}
			prog, err := k.compile()
			if err != nil {
				t.Fatal(err)
			}
			if (k.ID == "") == (k.ConstID == "") {
				t.Error("want either ID or ConstID")
			}
			for _, m := range strings.Split(k.ID, "/") {
				if s, ok := prog.Item().Path(m); k.ID != "" && (!ok || s.Type() == awsxml.List || s.Type() == awsxml.Struct) {
					t.Errorf("id member %s is not a scalar of the response", m)
				}
			}
			for _, m := range k.Ordered {
				if s, ok := prog.Item().Path(m); !ok || s.Type() != awsxml.List {
					t.Errorf("ordered member %s is not a list of the response", m)
				}
			}

			if op.Has(api.PageSize) != (k.Max > 0) {
				t.Errorf("Max is %d, but the API has %s: %v", k.Max, api.PageSize, op.Has(api.PageSize))
			}
			if op.Paginated && !op.Has(api.PageToken) {
				t.Errorf("the SDK has pages, but no %s", api.PageToken)
			}
			if f, ok := known[k.Op]; ok && k.Service().Name == "ec2" {
				if f.paginated && !op.Has("NextToken") {
					t.Error("paginated by the service model, but the SDK has no NextToken")
				}
				if k.Max > 0 && (k.Max < f.min || f.max > 0 && k.Max > f.max) {
					t.Errorf("Max %d is outside %d–%d", k.Max, f.min, f.max)
				}
				if k.Max > 0 && f.max > 0 && k.Max < f.max && k.Max < 1000 {
					t.Errorf("Max %d could be %d", k.Max, f.max)
				}
				for _, s := range f.sensitive {
					if !slices.Contains(k.Sensitive, strings.TrimPrefix(s, k.Items+".")) {
						t.Errorf("%s is sensitive", s)
					}
				}
			}
			given := map[string]bool{api.PageSize: k.Max > 0}
			for _, wire := range append(slices.Sorted(mapKeys(k.Params)), k.ParentParam) {
				if wire == "" {
					continue
				}
				name, n, list := strings.Cut(wire, ".")
				n = strings.TrimPrefix(n, "member.") // of awsquery
				j := slices.IndexFunc(op.Inputs, func(in awsxml.Input) bool { return in.Wire == name })
				switch {
				case j < 0:
					t.Errorf("%s is not an input of %s", wire, k.Op)
				case (op.Inputs[j].Type == awsxml.List) != list || list && n != "1":
					t.Errorf("%s is not the wire name of the input", wire)
				default:
					given[op.Inputs[j].Name] = true
				}
			}
			for _, in := range op.Inputs {
				if in.Required && !given[in.Name] {
					t.Errorf("the API requires %s", in.Name)
				}
			}

			if (k.Parent == "") != (k.ParentParam == "") {
				t.Error("Parent and ParentParam go together")
			}
			if k.Parent != "" {
				switch p, ok := KindNamed(k.Parent); {
				case !ok:
					t.Errorf("no parent %s", k.Parent)
				case strings.Contains(p.ID, "/") || p.ConstID != "":
					t.Errorf("parent %s has an id that AWS does not know", k.Parent)
				}
				if sampleID(k.Parent, CallOptions{}) == "" {
					t.Errorf("no sample id of %s", k.Parent)
				}
			}
			if k.TagsBy != nil {
				testTagsBy(t, k, prog)
			}
			if (k.Refill > 0) != (k.Burst > 0) {
				t.Error("Refill and Burst go together")
			}
			if k.Max == 0 && slices.Contains(unpaged, k.Op) {
				t.Error("without MaxResults the bucket is half of Budget")
			}
			if r, b := k.Budget(); r <= 0 || b <= 0 {
				t.Errorf("budget %v, %d", r, b)
			}
		})
	}
}

// testTagsBy checks a row's TagsBy against the SDK.
func testTagsBy(t *testing.T, k *Kind, prog *awsxml.Program) {
	tb := k.TagsBy
	op, ok := awsxml.Describe(k.Service().format.Service, tb.Op)
	if !ok {
		t.Fatalf("the SDK has no %s", tb.Op)
	}
	if _, err := k.compileTags(); err != nil {
		t.Error(err)
	}
	name, list := strings.CutSuffix(tb.Param, ".member")
	for _, in := range op.Inputs {
		if in.Required != (in.Wire == name) {
			t.Errorf("%s: input %s: required: %v", tb.Op, in.Wire, in.Required)
		}
		if in.Wire == name && (in.Type == awsxml.List) != list {
			t.Errorf("%s: %s is not the wire name of the input", tb.Op, tb.Param)
		}
	}
	if tb.Max < 1 || list != (tb.Max > 1) || (tb.ID == "") != (tb.Max == 1) {
		t.Errorf("a call has at most %d names, as %s, and the response names them by %q", tb.Max, tb.Param, tb.ID)
	}
	if sampleID(k.Name, CallOptions{}) == "" {
		t.Errorf("no sample id of %s", k.Name)
	}
	if k.Refill > 0 && !k.Service().Shared {
		t.Error("the tags have the budget of the kind's own API")
	}
	if k.Max == 0 || k.Max > max(tb.Max, 100) {
		t.Errorf("pages of %d: a response that waits for its tags is kept in memory", k.Max)
	}
	if s, ok := prog.Item().Path("Tags.Key"); !ok || s.Type() != awsxml.String {
		t.Error("records have no member Tags")
	}
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Every operation of the SDK's client of a service that begins as one of its kinds' does, with Describe, Get or List,
// has a kind or is left out with a reason.
func TestNothingIsForgotten(t *testing.T) {
	for i := range Services {
		t.Run(Services[i].Name, func(t *testing.T) { testNothingIsForgotten(t, &Services[i]) })
	}
}

func testNothingIsForgotten(t *testing.T, s *Service) {
	firstWord := regexp.MustCompile(`^[A-Z][a-z]+`).FindString
	state, words := map[string]int{}, map[string]bool{}
	for i := range Kinds {
		if Kinds[i].Service() == s {
			state[Kinds[i].Op], words[firstWord(Kinds[i].Op)] = 1, true
		}
	}
	for i, o := range s.LeftOut {
		state[o.Operation]++
		if _, ok := awsxml.Describe(s.format.Service, o.Operation); !ok {
			t.Errorf("%s is left out, but the SDK does not have it", o.Operation)
		}
		if o.Reason == "" || i > 0 && s.LeftOut[i-1].Operation >= o.Operation {
			t.Errorf("%s: without a reason, or out of order", o.Operation)
		}
	}
	all := slices.DeleteFunc(awsxml.Operations(s.format.Service), func(op string) bool { return !words[firstWord(op)] })
	for _, op := range all {
		switch state[op] {
		case 0:
			t.Errorf("%s is neither a kind nor left out", op)
		case 1:
		default:
			t.Errorf("%s is a kind and left out", op)
		}
	}
	if len(all) != len(state) || len(all) == 0 {
		t.Errorf("%d operations, %d with kinds or left out", len(all), len(state))
	}
}

func TestParentsFirst(t *testing.T) {
	var ks []*Kind
	for i := range Kinds {
		ks = append(ks, &Kinds[len(Kinds)-1-i])
	}
	ParentsFirst(ks)
	done := map[string]bool{"": true}
	for _, k := range ks {
		if !done[k.Parent] {
			t.Errorf("%s before %s", k.Name, k.Parent)
		}
		done[k.Name] = true
	}
}

func TestHints(t *testing.T) {
	r := record.ReasonOfCode("InvalidAction")
	if record.StateOf(&record.Fault{Reason: r, Err: os.ErrInvalid}, 0) != record.RegionDisabled {
		t.Errorf("an API that does not exist in the region is a failure: %s", r)
	}
}

func TestDocIsGenerated(t *testing.T) {
	var want strings.Builder
	WriteDoc(&want)
	got, err := os.ReadFile("../docs/kinds.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Error("docs/kinds.md differs from the catalogue: run go generate ./collectors")
	}
}
