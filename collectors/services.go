package collectors

import (
	"strings"

	"github.com/aws-collector/collector/collectors/internal/call"
)

// A Service is an AWS service whose resources are kinds.
type Service struct {
	Name string // the first word of its kinds' names: "ec2"
	api  call.Service
}

// Services are all services, sorted by name. They are never modified.
var Services = []Service{
	{
		Name: "ec2",
		api: call.Service{
			ID: "EC2", Version: "2016-11-15", PageSize: "MaxResults", PageToken: "NextToken", DryRun: "DryRun",
			Prepare: call.PrepareEC2, ReadError: call.ReadEC2Error,
		},
	},
}

// service returns the service of a kind.
func (k *Kind) service() *Service {
	for i := range Services {
		if strings.HasPrefix(k.Name, Services[i].Name+"_") {
			return &Services[i]
		}
	}
	return nil // a test checks that each kind has a service
}
