// Package s3 is the output `s3`: objects in a bucket of AWS or of any store with the same API. Begin with Send in
// send.go: it splits a batch into objects by key.go, encodes them by object.go and uploads them.
package s3

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/contextmutex"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// Options is the options of the output `s3`: objects in a bucket of AWS or of any store with the same API. The records
// of a batch that have the same key form one object, so a table over the bucket is partitioned by the key.
type Options struct {
	outputs.Common   `yaml:",inline"`
	outputs.Batching `yaml:",inline"`
	Bucket           string `yaml:"bucket" doc:"The bucket, which must exist."`
	Prefix           string `yaml:"prefix" doc:"The beginning of every object's key, such as inventory; a slash is added."`
	Key              string `yaml:"key" doc:"The part of the key between prefix and object name, with {account}, {account_id}, {partition}, {region}, {kind}, {date} (of the record, such as 2026-11-21, in UTC) and {run}."`
	Format           string `yaml:"format" enum:"jsonl,parquet" doc:"jsonl: one record per line. parquet: one schema for all kinds, with data as a JSON column."`
	Compression      string `yaml:"compression" enum:"gzip,zstd,none" doc:"Compression of jsonl. Parquet uses zstd internally."`

	Endpoint  string               `yaml:"endpoint" doc:"The URL of a store other than AWS, such as https://minio.example.com:9000."`
	PathStyle *bool                `yaml:"path_style" doc:"Put the bucket into the path instead of the host name. Default: true with endpoint, else false."`
	Region    string               `yaml:"region" doc:"The bucket's region. Default: that of the environment; with endpoint us-east-1."`
	Timeout   config.Duration      `yaml:"timeout" doc:"How long the upload of an object may take."`
	TLS       httpclient.ClientTLS `yaml:"tls" doc:"How to verify the store, and the client certificate. Default: as for AWS."`

	AKID          string        `yaml:"ak_id" doc:"The access key's id; needs ak_secret. Without ak_id and profile: the SDK's default chain, as for an account."`
	AKSecret      secret.String `yaml:"ak_secret" doc:"The secret access key: a reference, ${env:NAME} or ${file:/path}."`
	SessionToken  secret.String `yaml:"session_token" doc:"The session token of a temporary key (ASIA...)."`
	Profile       string        `yaml:"profile" doc:"A profile of the shared AWS files, instead of a key."`
	AssumeRoleARN string        `yaml:"assume_role_arn" doc:"A role to assume with these credentials."`
	ExternalID    string        `yaml:"external_id" doc:"The external id that the role's trust policy requires."`

	SSE          string `yaml:"sse" enum:"AES256,aws:kms,aws:kms:dsse" doc:"How the store encrypts the objects. Default: the bucket's setting."`
	KMSKeyID     string `yaml:"kms_key_id" doc:"The ARN of the key for aws:kms. Default: the key that AWS manages."`
	StorageClass string `yaml:"storage_class" doc:"Such as STANDARD_IA or INTELLIGENT_TIERING. Default: STANDARD."`
}

const (
	jsonlFormat     = "jsonl"
	parquetFormat   = "parquet"
	gzipped         = "gzip"
	zstandard       = "zstd"
	noneCompression = "none"
	maxObjectBytes  = 64 << 20
)

// Type is this output.
var Type = outputs.Type{Name: "s3", Options: defaults, Open: open, Translates: true}

func defaults() any {
	return &Options{
		Batching:    outputs.Batching{MaxRecords: 100_000, MaxBytes: 32 << 20, MaxWait: config.Duration(time.Minute)},
		Key:         "account_id={account_id}/region={region}/date={date}",
		Format:      jsonlFormat,
		Compression: gzipped,
		Timeout:     config.Duration(time.Minute),
	}
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and the names that older buckets and
// other stores allow.
var bucketPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)

// Validate reports every error in the options.
func (o *Options) Validate() error {
	errs := o.Batching.BatchingErrors()
	addf := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case o.Bucket == "":
		addf("bucket: is needed: the bucket's name")
	case strings.HasPrefix(o.Bucket, "s3://"):
		addf("bucket: must be a name, not a URL: set the rest in prefix")
	// the ARN of an access point is allowed
	case !strings.HasPrefix(o.Bucket, "arn:") && !bucketPattern.MatchString(o.Bucket):
		addf("bucket: %q is not a valid bucket name", o.Bucket)
	}
	if _, err := parseKey(o.Key); err != nil {
		addf("key: %w", err)
	}
	if o.Format != jsonlFormat && o.Format != parquetFormat {
		addf("format: %q is neither %s nor %s", o.Format, jsonlFormat, parquetFormat)
	}
	if !slices.Contains([]string{gzipped, zstandard, noneCompression}, o.Compression) {
		addf("compression: %q is not %s, %s or %s", o.Compression, gzipped, zstandard, noneCompression)
	}
	if o.MaxBytes > maxObjectBytes {
		addf("max_bytes: %s is more than 64MiB, the largest object that is sent", o.MaxBytes)
	}
	if o.Endpoint != "" {
		if u, err := httpclient.ParseURL(o.Endpoint); err != nil {
			errs = append(
				errs,
				config.Problem{Path: "endpoint", Text: err.Error(), Remedy: "write it as https://minio.example.com:9000"},
			)
		} else if u.User != nil || u.RawQuery != "" {
			addf("endpoint: contains a user or a query: set the key in ak_id and ak_secret")
		} else if u.Scheme == "http" && o.TLS != (httpclient.ClientTLS{}) {
			addf("tls: has no effect with an endpoint that begins with http://")
		}
	}
	if t := time.Duration(o.Timeout); t < time.Second {
		addf("timeout: %s is less than 1s", t)
	}
	if (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		addf("tls.cert_file: set both cert_file and key_file")
	}
	switch {
	case (o.AKID == "") != o.AKSecret.IsZero():
		addf("ak_id: set both ak_id and ak_secret")
	case o.AKID == "" && !o.SessionToken.IsZero():
		addf("session_token: needs ak_id and ak_secret")
	case o.AKID != "" && o.Profile != "":
		addf("profile: remove it, or ak_id")
	}
	if o.ExternalID != "" && o.AssumeRoleARN == "" {
		addf("external_id: needs assume_role_arn")
	}
	if o.SSE != "" && !slices.Contains([]string{"AES256", "aws:kms", "aws:kms:dsse"}, o.SSE) {
		addf("sse: %q is not AES256, aws:kms or aws:kms:dsse", o.SSE)
	}
	if o.KMSKeyID != "" && !strings.HasPrefix(o.SSE, "aws:kms") {
		addf("kms_key_id: needs `sse: aws:kms`")
	}
	return errors.Join(errs...)
}

// ClientKeyFile returns the file of the client's key.
func (o *Options) ClientKeyFile() string { return o.TLS.KeyFile }

// Cleartext implements [outputs.Cleartext].
func (o *Options) Cleartext() []config.Problem {
	u, err := httpclient.ParseURL(o.Endpoint)
	if err != nil || u.Scheme == "https" {
		return o.TLS.Cleartext()
	}
	if config.IsLoopback(u.Hostname()) {
		return nil
	}
	return []config.Problem{{
		Path:   "endpoint",
		Text:   "objects, and the token of a session, are sent in clear text: it begins with http://",
		Remedy: "use https://",
	}}
}

// signIn returns the credential options as those of an account.
func (o *Options) signIn() config.Account {
	var a config.Account
	a.AKID, a.AKSecret, a.SessionToken, a.Profile = o.AKID, o.AKSecret, o.SessionToken, o.Profile
	a.ARN, a.ExternalID, a.STSRegion = o.AssumeRoleARN, o.ExternalID, o.Region
	if o.Endpoint != "" { // the region may not be one of AWS
		a.STSRegion = ""
	}
	return a
}

// open does not connect: the bucket may not be reachable now.
func open(ctx context.Context, options any, d outputs.Deps) (outputs.Output, error) {
	o := options.(*Options)
	key, err := parseKey(o.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	cfg, err := o.aws(ctx, d)
	if err != nil {
		return nil, err
	}
	if o.Region != "" {
		cfg.Region = o.Region
	}
	if cfg.Region == "" {
		if o.Endpoint == "" {
			return nil, errors.New("region: is needed: the bucket's region, or set AWS_REGION")
		}
		cfg.Region = "us-east-1"
	}
	to := o.Endpoint
	if to == "" {
		to = "https://s3." + cfg.Region + ".amazonaws.com" // for messages only; the SDK resolves the real endpoint
	}
	c, err := httpclient.New(&httpclient.Options{TLS: o.TLS, Timeout: o.Timeout}, to)
	if err != nil {
		return nil, err
	}
	if cfg.HTTPClient == nil || o.TLS != (httpclient.ClientTLS{}) {
		cfg.HTTPClient = noRedirects(c.Transport)
	}
	cfg.HTTPClient = resending(cfg.HTTPClient)
	put, err := newPutter(ctx, o, cfg)
	if err != nil {
		return nil, err
	}
	return &output{
		putter: put, http: c, credentials: cfg.Credentials, bucket: o.Bucket, prefix: strings.Trim(o.Prefix, "/"),
		region: cfg.Region, sse: o.SSE, keyTemplate: key, format: o.objectFormat(d.KindInfo),
		timeout: time.Duration(o.Timeout),
		sendMu:  contextmutex.New(), uploaded: map[string]bool{},
	}, nil
}

// aws returns the SDK's configuration with credentials, which are resolved when they are first needed.
func (o *Options) aws(ctx context.Context, d outputs.Deps) (aws.Config, error) {
	if d.AWS != nil {
		return d.AWS(ctx, o.signIn())
	}
	if o.AKID == "" {
		return aws.Config{}, errors.New("ak_id: is needed")
	}
	return aws.Config{Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{
			AccessKeyID:     o.AKID,
			SecretAccessKey: o.AKSecret.Reveal(),
			SessionToken:    o.SessionToken.Reveal(),
			Source:          "ak_id",
		}, nil
	})}, nil
}

// An objectFormat is the encoding of an object, with its file name suffix.
type objectFormat struct {
	suffix, contentType string
	new                 func() (objectWriter, error)
}

func (o *Options) objectFormat(kind func(string) record.KindInfo) objectFormat {
	switch {
	case o.Format == parquetFormat:
		return objectFormat{".parquet", "application/vnd.apache.parquet", newParquetWriter(kind)}
	case o.Compression == gzipped:
		return objectFormat{".jsonl.gz", "application/gzip", newGzipWriter}
	case o.Compression == zstandard:
		return objectFormat{".jsonl.zst", "application/zstd", newZstdWriter}
	}
	return objectFormat{".jsonl", "application/x-ndjson", newPlainWriter}
}
