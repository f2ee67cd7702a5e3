package outputs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/secret"
)

// S3 is the options of the output `s3`: objects of a bucket, of AWS's or of any store that speaks its API. An object has the
// records of one batch that belong under one key, so a table over the bucket is partitioned by what the key says.
type S3 struct {
	Common      `yaml:",inline"`
	Batching    `yaml:",inline"`
	Bucket      string `yaml:"bucket" doc:"The bucket, which must exist."`
	Prefix      string `yaml:"prefix" doc:"What every object's key begins with, as inventory; a slash is put after it."`
	Key         string `yaml:"key" doc:"The folders between the prefix and an object's own name, with {account}, {account_id}, {partition}, {region}, {kind}, {date} (of the record, as 2026-11-21, in UTC) and {run}."`
	Format      string `yaml:"format" enum:"jsonl,parquet" doc:"jsonl: the records as lines. parquet: one schema for every kind, with data as a column of JSON."`
	Compression string `yaml:"compression" enum:"gzip,zstd,none" doc:"Of jsonl. Parquet is compressed with zstd within."`

	Endpoint  string          `yaml:"endpoint" doc:"The URL of a store that is not AWS's, as https://minio.example.com:9000."`
	PathStyle *bool           `yaml:"path_style" doc:"Put the bucket into the path and not into the host's name. Default: true with endpoint, else false."`
	Region    string          `yaml:"region" doc:"The bucket's region. Default: that of the environment; with endpoint us-east-1."`
	Timeout   config.Duration `yaml:"timeout" doc:"How long an object may take."`
	TLS       ClientTLS       `yaml:"tls" doc:"How to trust the store, and who we are to it. Default: as for AWS."`

	AKID          string        `yaml:"ak_id" doc:"The access key's id; needs ak_secret. Without a key and a profile the SDK's default chain is used, as for an account."`
	AKSecret      secret.String `yaml:"ak_secret" doc:"The secret access key: a reference, ${env:NAME} or ${file:/path}."`
	SessionToken  secret.String `yaml:"session_token" doc:"The session token that belongs to a temporary key (ASIA...)."`
	Profile       string        `yaml:"profile" doc:"A profile of the shared AWS files, in place of a key."`
	AssumeRoleARN string        `yaml:"assume_role_arn" doc:"A role to assume with these credentials, and to write as."`
	ExternalID    string        `yaml:"external_id" doc:"The external id that the role's trust policy asks for."`

	SSE          string `yaml:"sse" enum:"AES256,aws:kms,aws:kms:dsse" doc:"How the store encrypts the objects. Default: as the bucket is set up."`
	KMSKeyID     string `yaml:"kms_key_id" doc:"The key for aws:kms: its ARN. Default: the one that AWS manages."`
	StorageClass string `yaml:"storage_class" doc:"As STANDARD_IA or INTELLIGENT_TIERING. Default: STANDARD."`
}

const (
	jsonlFormat     = "jsonl"
	parquetFormat   = "parquet"
	gzipCompression = "gzip"
	maxObjectBytes  = 64 << 20
)

func s3Defaults() any {
	return &S3{
		Batching:    Batching{MaxRecords: 100_000, MaxBytes: 32 << 20, MaxWait: config.Duration(time.Minute)},
		Key:         "account_id={account_id}/region={region}/date={date}",
		Format:      jsonlFormat,
		Compression: gzipCompression,
		Timeout:     config.Duration(time.Minute),
	}
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and what older buckets and other stores allow.
var bucketPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)

// Validate reports everything that is wrong.
func (o *S3) Validate() error {
	errs := o.Batching.batchingErrors()
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case o.Bucket == "":
		wrong("bucket: is needed: the bucket's name")
	case strings.HasPrefix(o.Bucket, "s3://"):
		wrong("bucket: is a name alone: what follows the bucket belongs into prefix")
	case !strings.HasPrefix(o.Bucket, "arn:") && !bucketPattern.MatchString(o.Bucket): // an access point's ARN stands for a bucket
		wrong("bucket: %q is no name of a bucket", o.Bucket)
	}
	if _, err := parseKey(o.Key); err != nil {
		wrong("key: %w", err)
	}
	if o.Format != jsonlFormat && o.Format != parquetFormat {
		wrong("format: %q is neither %s nor %s", o.Format, jsonlFormat, parquetFormat)
	}
	if !slices.Contains([]string{gzipCompression, zstdCompression, noCompression}, o.Compression) {
		wrong("compression: %q is not %s, %s or %s", o.Compression, gzipCompression, zstdCompression, noCompression)
	}
	if o.MaxBytes > maxObjectBytes {
		wrong("max_bytes: %s is more than 64MiB, the most that is sent in one piece", o.MaxBytes)
	}
	if o.Endpoint != "" {
		if u, err := parseURL(o.Endpoint); err != nil {
			errs = append(
				errs,
				config.Problem{Path: "endpoint", Text: err.Error(), Remedy: "write it as https://minio.example.com:9000"},
			)
		} else if u.User != nil || u.RawQuery != "" {
			wrong("endpoint: holds a user or a query: keys belong into ak_id and ak_secret")
		} else if u.Scheme == "http" && o.TLS != (ClientTLS{}) {
			wrong("tls: has no meaning for an endpoint that begins with http://")
		}
	}
	if t := time.Duration(o.Timeout); t < time.Second {
		wrong("timeout: %s is less than 1s", t)
	}
	if (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		wrong("tls.cert_file: cert_file and key_file stand together")
	}
	switch {
	case (o.AKID == "") != o.AKSecret.IsZero():
		wrong("ak_id: ak_id and ak_secret stand together")
	case o.AKID == "" && !o.SessionToken.IsZero():
		wrong("session_token: belongs to ak_id and ak_secret")
	case o.AKID != "" && o.Profile != "":
		wrong("profile: stands beside ak_id: remove one of them")
	}
	if o.ExternalID != "" && o.AssumeRoleARN == "" {
		wrong("external_id: is for assume_role_arn, which is missing")
	}
	if o.SSE != "" && !slices.Contains([]string{"AES256", "aws:kms", "aws:kms:dsse"}, o.SSE) {
		wrong("sse: %q is not AES256, aws:kms or aws:kms:dsse", o.SSE)
	}
	if o.KMSKeyID != "" && !strings.HasPrefix(o.SSE, "aws:kms") {
		wrong("kms_key_id: needs `sse: aws:kms`")
	}
	return errors.Join(errs...)
}

// signIn is the options as those of an account.
func (o *S3) signIn() config.Account {
	var a config.Account
	a.AKID, a.AKSecret, a.SessionToken, a.Profile = o.AKID, o.AKSecret, o.SessionToken, o.Profile
	a.ARN, a.ExternalID, a.STSRegion = o.AssumeRoleARN, o.ExternalID, o.Region
	if o.Endpoint != "" { // the region is another's word
		a.STSRegion = ""
	}
	return a
}

// openS3 calls nobody: the bucket may be out of reach at the moment.
func openS3(ctx context.Context, options any, d Deps) (Output, error) {
	o := options.(*S3)
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
			return nil, errors.New("region: is needed: the bucket's region, here or as AWS_REGION")
		}
		cfg.Region = "us-east-1"
	}
	to := o.Endpoint
	if to == "" {
		to = "https://s3." + cfg.Region + ".amazonaws.com" // for messages; the SDK knows every partition's
	}
	c, err := newHTTPClient(&HTTPClient{TLS: o.TLS, Timeout: o.Timeout}, to)
	if err != nil {
		return nil, err
	}
	if cfg.HTTPClient == nil || o.TLS != (ClientTLS{}) {
		cfg.HTTPClient = &http.Client{
			Transport:     c.transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	put, err := newPutter(ctx, o, cfg)
	if err != nil {
		return nil, err
	}
	return &s3Output{
		putter: put, http: c, credentials: cfg.Credentials, bucket: o.Bucket, prefix: strings.Trim(o.Prefix, "/"), region: cfg.Region, sse: o.SSE,
		keyTemplate: key, format: o.objectFormat(), timeout: time.Duration(o.Timeout), sendMu: make(contextMutex, 1), uploaded: map[string]bool{},
	}, nil
}

// aws is the SDK's configuration with credentials in it, which are looked for when they are first needed.
func (o *S3) aws(ctx context.Context, d Deps) (aws.Config, error) {
	if d.AWS != nil {
		return d.AWS(ctx, o.signIn())
	}
	if o.AKID == "" {
		return aws.Config{}, errors.New("ak_id: is needed here")
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

// An objectForm is how an object's bytes are written and what they are called.
type objectFormat struct {
	suffix, contentType string
	new                 func() (objectWriter, error)
}

func (o *S3) objectFormat() objectFormat {
	switch {
	case o.Format == parquetFormat:
		return objectFormat{".parquet", "application/vnd.apache.parquet", newParquetWriter}
	case o.Compression == gzipCompression:
		return objectFormat{".jsonl.gz", "application/gzip", newGzipWriter}
	case o.Compression == zstdCompression:
		return objectFormat{".jsonl.zst", "application/zstd", newZstdWriter}
	}
	return objectFormat{".jsonl", "application/x-ndjson", newPlainWriter}
}
