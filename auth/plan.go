package auth

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// A Step makes credentials out of the ones before it. A way to sign in is a file with a Step, and a line in [Sessions.plan].
type Step interface {
	// Name is what paths and errors say; never a secret.
	Name() string
	// Key is what the step amounts to. Blocks whose steps have equal keys, over equal steps before them, share the
	// credentials. It holds digests of secrets, not secrets.
	Key() string
	// Retrieve makes new credentials. prev is nil under a base. It watches ctx, has time-outs of its own for what it asks, and
	// its error holds a [record.Fault]. It is called once at a time; its answer is kept until it is due.
	Retrieve(ctx context.Context, prev Provider) (aws.Credentials, error)
}

// plan turns a block into steps, in order. It calls nobody; at most it reads a profile.
func (s *Sessions) plan(ctx context.Context, a config.Account) (steps []Step, region string, err error) {
	region = stsRegion(a)
	hops, serial := a.Hops(), a.SerialNumber
	switch {
	case a.Profile != "":
		if s.loader.opts.Isolated && s.loader.opts.ConfigFiles == nil && s.loader.opts.CredentialsFiles == nil {
			return nil, "", fault(record.NoCredentials, "use `ak_id` and `ak_secret`, or a role, here", "profile %s: shared files are not read in this mode", a.Profile)
		}
		mfa, err := readMFAProfile(s.loader, a.Profile)
		if err != nil {
			return nil, "", err
		}
		if mfa == nil {
			steps = append(steps, s.profileStep(a.Profile, region))
			break
		}
		steps = append(steps, &mfa.key)
		hops = append(mfa.roles, hops...)
		if serial == "" {
			serial = mfa.serial
		}
	case a.AKID != "" || !a.AKSecret.IsZero():
		steps = append(steps, &keyStep{a.AKID, a.AKSecret, a.SessionToken})
	case a.CredentialSource == "Environment":
		steps = append(steps, &envStep{s.getenv})
	case a.CredentialSource == "Ec2InstanceMetadata":
		steps = append(steps, s.instance.step)
	case a.CredentialSource == "EcsContainer":
		steps = append(steps, newContainerStep(s.loader, s.getenv))
	case a.CredentialSource != "":
		return nil, "", fault(record.NoCredentials, "it is Environment, Ec2InstanceMetadata or EcsContainer", "credential_source %q is unknown", a.CredentialSource)
	case s.loader.opts.Isolated:
		steps = append(steps, s.isolatedStep())
	default:
		steps = append(steps, s.profileStep("", region))
	}
	if serial != "" {
		codes, err := newCodeSource(a)
		if err != nil {
			return nil, "", err
		}
		steps = append(steps, &mfaStep{
			sts: s.sts, store: s.store, region: region, serial: serial, partition: PartitionOf(a), codes: codes,
			duration: orDefault(time.Duration(a.MFASessionDuration), defaultMFASession), signer: steps[len(steps)-1].Name(), log: s.log,
		})
	}
	for _, r := range hops {
		steps = append(steps, newRole(s.sts, region, r, steps[len(steps)-1]))
	}
	return steps, region, nil
}

func (s *Sessions) profileStep(name, region string) Step {
	return &sdkStep{
		profile: name, region: region, loader: s.loader, getenv: s.getenv, sts: s.sts, sso: s.sso, instance: s.instance,
	}
}

// isolatedStep is the default chain of a process that must not look at its environment: a container's endpoint if one was
// named, else the instance role.
func (s *Sessions) isolatedStep() Step {
	if s.loader.opts.ContainerEndpoint != "" {
		return newContainerStep(s.loader, s.getenv)
	}
	return s.instance.step
}

// stsRegion is whose STS is asked: `sts_region`, else the account's first literal region, else the partition's default.
// Never the global endpoint: regions that must be opted in to refuse its tokens.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html
func stsRegion(a config.Account) string {
	if a.STSRegion != "" {
		return a.STSRegion
	}
	for _, r := range a.Collect.Regions {
		if r != "" && !strings.ContainsAny(r, "*?[]!{}") {
			return r
		}
	}
	p, ok := record.PartitionNamed(PartitionOf(a))
	if !ok {
		p = record.Partitions[0]
	}
	return p.DefaultRegion
}

// PartitionOf is what the block says of its partition.
func PartitionOf(a config.Account) string { return a.PartitionID() }

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
