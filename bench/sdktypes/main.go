// Command sdktypes lists instances as most programs do: with the SDK's typed client and paginator, and encoding/json to
// a file. bench compares the collector with it. It is a separate program so that nothing else compiles the SDK's types.
// It does less than the collector: no role, no identity, no tags, no limits, no metrics; one page after the other. With
// -store it also stores the instances in the usual way: a row for each version in SQLite, compared by hash.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

func main() {
	keys := flag.String("keys", "", "file with an access key and its secret on each line")
	regions := flag.String("regions", "", "regions, separated by commas")
	out := flag.String("out", "", "output file, with an instance on each line")
	gzip := flag.Bool("gzip", true, "ask for compressed answers, as the SDK does")
	store := flag.String("store", "", "SQLite file that stores the instances; empty: do not store them")
	flag.Parse()
	if err := run(context.Background(), *keys, strings.Split(*regions, ","), *out, *store, *gzip); err != nil {
		fmt.Fprintln(os.Stderr, "sdktypes:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, keys string, regions []string, out, store string, gzip bool) (err error) {
	list, err := os.ReadFile(keys)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	defer func() { err = errors.Join(err, w.Flush(), f.Close()) }()
	m, err := openVersionStore(ctx, store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	client := &http.Client{Transport: &http.Transport{DisableCompression: !gzip}}
	defer client.CloseIdleConnections()
	for line := range strings.Lines(string(list)) {
		id, secret, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, region := range regions {
			api := ec2.New(ec2.Options{
				Region: region, HTTPClient: client, BaseEndpoint: aws.String(os.Getenv("AWS_ENDPOINT_URL")),
				Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, nil
				}),
			})
			if err := listInstances(ctx, api, id, w, m); err != nil {
				return fmt.Errorf("%s: %w", region, err)
			}
		}
	}
	return nil
}

func listInstances(ctx context.Context, api *ec2.Client, account string, w *bufio.Writer, m *versionStore) error {
	p := ec2.NewDescribeInstancesPaginator(api, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(1000)})
	for p.HasMorePages() {
		page, err := p.NextPage(ctx)
		if err != nil {
			return err
		}
		var rows []row
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				line, err := json.Marshal(i)
				if err != nil {
					return err
				}
				if _, err := w.Write(append(line, '\n')); err != nil {
					return err
				}
				rows = append(rows, row{account + "/" + api.Options().Region + "/" + aws.ToString(i.InstanceId), line})
			}
		}
		if err := m.savePage(ctx, rows); err != nil {
			return err
		}
	}
	return nil
}
