package call

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkxml "github.com/aws/aws-sdk-go-v2/aws/protocol/xml"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// PrepareAWSQuery returns a Prepare for a service with the protocol awsquery whose endpoints differ from EC2's only in
// the first word of the host.
func PrepareAWSQuery(sdkID, name string) func(aws.Config, string, *Recorder) error {
	return PrepareAWSQueryAt(sdkID, name, nil)
}

// PrepareAWSQueryAt is PrepareAWSQuery for a service some of whose hosts differ from EC2's in more: hosts has them by
// those of EC2. It makes service/ec2 prepare a call and puts the service's name in the place of EC2's,
// because each client of the SDK would add megabytes to the binary. sdkID is the name in settings of endpoints ("Auto
// Scaling"); name is the first word of the host and the name in signatures. A test in collectors/servicestest compares
// the result with the service's own client.
func PrepareAWSQueryAt(
	sdkID, name string, hosts map[string]string,
) func(aws.Config, string, *Recorder) error {
	return func(cfg aws.Config, region string, r *Recorder) error {
		base, err := baseEndpoint(cfg, sdkID)
		if err != nil {
			return err
		}
		err = prepare(cfg, region, r, func(o *ec2.Options) { o.BaseEndpoint = base })
		if err != nil || r.request == nil {
			return err
		}
		if r.signed {
			r.signingName = name
		}
		if base == nil {
			rest, ok := strings.CutPrefix(r.request.URL.Host, "ec2")
			if !ok {
				return fmt.Errorf("endpoint %s of EC2: want a host that begins with ec2", r.request.URL)
			}
			r.request.URL.Host = cmp.Or(hosts[r.request.URL.Host], name+rest)
			if r.request.Host != "" {
				r.request.Host = r.request.URL.Host
			}
		}
		agent := strings.Fields(r.request.Header.Get("User-Agent"))
		for i, word := range agent {
			if strings.HasPrefix(word, "api/ec2#") {
				agent[i] = "api/" + name
			}
		}
		r.request.Header.Set("User-Agent", strings.Join(agent, " "))
		return nil
	}
}

// baseEndpoint returns the endpoint that variables and shared files name for a service, nil for none, as each client of
// the SDK finds it: the service's own variable, then the variable for all, then the service's in the file, then the
// file's for all.
func baseEndpoint(cfg aws.Config, sdkID string) (*string, error) {
	ctx := context.Background()
	for _, source := range cfg.ConfigSources {
		s, ok := source.(interface {
			GetIgnoreConfiguredEndpoints(context.Context) (bool, bool, error)
		})
		if !ok {
			continue
		}
		if ignore, found, err := s.GetIgnoreConfiguredEndpoints(ctx); err != nil {
			return nil, err
		} else if found && ignore {
			return cfg.BaseEndpoint, nil
		}
	}
	for _, source := range cfg.ConfigSources {
		s, ok := source.(interface {
			GetServiceBaseEndpoint(context.Context, string) (string, bool, error)
		})
		if !ok {
			continue
		}
		if url, found, err := s.GetServiceBaseEndpoint(ctx, sdkID); err != nil || found {
			return &url, err
		}
		if env, ok := source.(config.EnvConfig); ok && env.BaseEndpoint != "" {
			break
		}
	}
	return cfg.BaseEndpoint, nil
}

// ReadAWSQueryError reads the error document of a service with the protocol awsquery.
func ReadAWSQueryError(document []byte) ServiceError {
	e, err := sdkxml.GetErrorResponseComponents(strings.NewReader(string(document)), false)
	if err != nil {
		return ServiceError{}
	}
	return ServiceError(e)
}
