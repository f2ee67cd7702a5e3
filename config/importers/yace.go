package importers

import "errors"

// yaceKinds are the kinds whose resources the CloudWatch namespaces of EC2 are about.
// https://github.com/prometheus-community/yet-another-cloudwatch-exporter/blob/master/docs/configuration.md
var yaceKinds = map[string]string{
	"AWS/EC2": "ec2_instance", "ec2": "ec2_instance",
	"AWS/EBS": "ec2_volume", "ebs": "ec2_volume",
	"AWS/EC2Spot": "ec2_spot_fleet_request", "ec2Spot": "ec2_spot_fleet_request",
	"AWS/NATGateway": "ec2_nat_gateway", "ngw": "ec2_nat_gateway",
	"AWS/TransitGateway": "ec2_transit_gateway", "tgw": "ec2_transit_gateway",
	"AWS/VPN": "ec2_vpn_connection", "vpn": "ec2_vpn_connection",
	"AWS/ClientVPN": "ec2_client_vpn_endpoint", "clientvpn": "ec2_client_vpn_endpoint",
	"AWS/PrivateLinkEndpoints": "ec2_vpc_endpoint", "vpc-endpoint": "ec2_vpc_endpoint",
	"AWS/PrivateLinkServices": "ec2_vpc_endpoint_service",
}

const (
	noMetrics    = "collector inventories resources and reads no CloudWatch metrics; keep YACE for them"
	everyTag     = "every resource is collected with all its tags; select with `collector list --where tags.KEY=VALUE`"
	everyMetrics = "every resource has all its tags; outputs choose labels: see the output prometheus"
)

// readYACE makes a block of each role, or of the default credentials, with the regions and kinds of its jobs.
func readYACE(b *builder, text []byte) error {
	docs, err := documents(text)
	if err != nil {
		return err
	}
	if len(docs) == 0 {
		return errors.New("is empty")
	}
	top := docs[0]
	for _, job := range top.at("discovery", "jobs").items() {
		b.yaceJob(job, []string{"type"}, top.at("sts-region").text())
	}
	for _, job := range top.at("static").items() {
		b.yaceJob(job, []string{"namespace", "name"}, top.at("sts-region").text())
	}
	for _, job := range top.at("customNamespace").items() {
		b.note(job.line(), "customNamespace "+job.at("name").text(), noMetrics)
	}
	b.noteOthers(top, "", []string{"apiVersion", "sts-region", "discovery", "static", "customNamespace"}, nil)
	b.noteOthers(top.at("discovery"), "discovery.", []string{"jobs"}, map[string]string{
		"exportedTagsOnMetrics": everyMetrics,
	})
	return nil
}

func (b *builder) yaceJob(job node, typeKeys []string, stsRegion string) {
	namespace := job.at(typeKeys[0]).text()
	kind, ok := yaceKinds[namespace]
	if !ok {
		b.note(job.line(), "job "+namespace, onlyEC2)
		return
	}
	regions := job.at("regions").texts()
	tags := map[string]string{}
	for _, t := range job.at("customTags").items() {
		tags[t.at("key").text()] = t.at("value").text()
	}
	roles := job.at("roles").items()
	if len(roles) == 0 {
		roles = []node{{}}
	}
	for _, r := range roles {
		a := block{ExtraTags: tags, Collect: newCollect(regions, []string{kind})}
		a.RoleARN, a.ExternalID, a.STSRegion = r.at("roleArn").text(), r.at("externalId").text(), stsRegion
		if a.RoleARN == "" {
			a.Name = "default"
		}
		b.add(a)
		b.noteOthers(r, "roles.", []string{"roleArn", "externalId"}, nil)
	}
	known := append([]string{"regions", "roles", "customTags"}, typeKeys...)
	metrics := map[string]string{"searchTags": everyTag, "dimensionNameRequirements": everyTag}
	for _, key := range []string{
		"metrics", "statistics", "period", "length", "delay", "nilToZero", "addCloudwatchTimestamp", "roundingPeriod",
		"recentlyActiveOnly", "includeContextOnInfoMetrics", "exportAllDataPoints", "dimensions",
	} {
		metrics[key] = noMetrics
	}
	b.noteOthers(job, "", known, metrics)
}
