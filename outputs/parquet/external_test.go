package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aws-collector/collector/inventory"
)

// An externalReader is another Parquet implementation: a command that prints the facts below as JSON.
type externalReader struct {
	name      string
	installed []string // a command that succeeds if the reader is installed
	command   func(path string) []string
	sql       func(query string) []string // nil: no SQL
}

const facts = `SELECT kind, id, account_id, state, tags['team'] AS team, cardinality(extra_tags) AS extra,
	epoch_us(valid_from) AS valid_from, valid_to IS NULL AS live, ended, data ->> '$.Ports[1]' AS port,
	strlen(data) AS size FROM '`

func duckdb(query string) []string { return []string{"duckdb", "-json", "-c", query} }

func duckdbForNode(query string) []string {
	return []string{"node", "-e", `(async () => {
		const c = await (await require('@duckdb/node-api').DuckDBInstance.create()).connect();
		console.log(JSON.stringify((await c.runAndReadAll(process.argv[1])).getRowObjectsJson()));
	})()`, query}
}

var externalReaders = []externalReader{
	{"duckdb", []string{"duckdb", "--version"}, func(path string) []string { return duckdb(facts + path + "'") }, duckdb},
	{"DuckDB for Node (npm install @duckdb/node-api; NODE_PATH)", []string{"node", "-e", "require('@duckdb/node-api')"},
		func(path string) []string { return duckdbForNode(facts + path + "'") }, duckdbForNode},
	{"pyarrow", []string{"python3", "-c", "import pyarrow.parquet"}, func(path string) []string {
		return []string{"python3", "-c", `
import json, sys, pyarrow.parquet
out = []
for r in pyarrow.parquet.read_table(sys.argv[1]).to_pylist():
    ports = json.loads(r["data"]).get("Ports")
    tags = dict(r["tags"])
    out.append({"kind": r["kind"], "id": r["id"], "account_id": r["account_id"], "state": r["state"],
        "team": tags.get("team"), "extra": len(r["extra_tags"]),
        "valid_from": int(r["valid_from"].timestamp()) * 1000000 + r["valid_from"].microsecond,
        "live": r["valid_to"] is None, "ended": r["ended"], "port": str(ports[1]) if ports else None,
        "size": len(r["data"].encode() if isinstance(r["data"], str) else r["data"])})
print(json.dumps(out))`, path}
	}, nil},
}

// Other implementations than the library of the round-trip tests read the files.
func TestExternalReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.parquet")
	must(t, os.WriteFile(path, sampleFile(t), 0o600))
	rs := resources()
	want := []map[string]any{
		{"kind": "ec2_instance", "id": "i-0abc", "account_id": "012345678901", "state": "running", "team": "", "extra": 1.0,
			"valid_from": float64(noon.UnixMicro()), "live": true, "ended": nil, "port": "2", "size": float64(len(rs[0].Data))},
		{"kind": "ec2_vpc", "id": "vpc-1", "account_id": "012345678901", "state": nil, "team": nil, "extra": 0.0,
			"valid_from": float64(noon.UnixMicro()), "live": false, "ended": "absent", "port": nil, "size": 2.0},
	}
	read := 0
	for _, r := range externalReaders {
		if exec.Command(r.installed[0], r.installed[1:]...).Run() != nil {
			continue
		}
		read++
		t.Run(r.name, func(t *testing.T) {
			got := runQuery(t, r.command(path))
			for _, row := range got {
				for k, v := range row {
					if s, ok := v.(string); ok &&
						(k == "valid_from" || k == "size" || k == "extra") { // some clients print 64-bit integers as text
						must(t, json.Unmarshal([]byte(s), &v))
						row[k] = v
					}
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
	if read == 0 {
		t.Skip("SKIPPED, NOT PASSED: no external Parquet reader is installed: duckdb, @duckdb/node-api or pyarrow")
	}
}

// runQuery runs a command that prints rows as JSON.
func runQuery(t *testing.T, args []string) []map[string]any {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var got []map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return got
}

// A file of two row groups and many pages: every column is complete, and the bounds do not hide rows from a query.
func TestExternalReadersManyPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.parquet")
	var b bytes.Buffer
	w := newWriter[Version](t, &b)
	rows := manyEnvelopes(maxGroupRows + 20_000)
	sums := map[string]int{}
	count := func(column string, values ...string) {
		for _, v := range values {
			if v != "" {
				sums[column] += len(v)
			}
		}
	}
	looked := rows[maxGroupRows+7]
	found := 0
	for i := range rows {
		e := &rows[i]
		e.Data = fmt.Appendf(nil, `{"N":%d}`, i)
		if i%5 == 0 {
			e.Name, e.State, e.Tags = "", "", nil
		}
		v := Version{Envelope: *e, FirstSeen: noon, StateSince: noon, ValidFrom: noon.Add(time.Duration(i) * time.Second)}
		if i%3 == 0 {
			v.Ended, v.ValidTo = inventory.Absent, noon
			sums["ended_at"]++
		}
		must(t, w.Write(v))
		count("kind", e.Kind)
		count("id", e.ID)
		count("name", e.Name)
		count("state", e.State)
		count("type", e.Type)
		count("account", e.Account, e.AccountID, e.Partition)
		count("region", e.Region)
		count("data", string(e.Data))
		count("run", e.Run)
		count("ended", v.Ended)
		for k, value := range e.Tags {
			count("keys", k)
			count("values", value)
		}
		count("extra", e.ExtraTags["account_name"])
		if e.AccountID == looked.AccountID && e.Region == looked.Region {
			found++
		}
	}
	must(t, w.Close())
	must(t, os.WriteFile(path, b.Bytes(), 0o600))
	want := map[string]any{
		"rows":  fmt.Sprint(len(rows)),
		"found": fmt.Sprint(found),
		"one":   "1",
		"late":  "101",
		"none":  "0",
	}
	for column, n := range sums {
		want[column] = fmt.Sprint(n)
	}
	from := " FROM '" + path + "'"
	query := fmt.Sprintf(
		`SELECT count(*)::VARCHAR AS rows, sum(strlen(kind))::VARCHAR AS kind, sum(strlen(id))::VARCHAR AS id,
		sum(strlen(name))::VARCHAR AS name,
		sum(strlen(state))::VARCHAR AS state, sum(strlen(type))::VARCHAR AS type,
		sum(strlen(account) + strlen(account_id) + strlen(partition))::VARCHAR AS account,
		sum(strlen(region))::VARCHAR AS region, sum(strlen(data))::VARCHAR AS data, sum(strlen(run))::VARCHAR AS run,
		sum(strlen(ended))::VARCHAR AS ended,
		count(valid_to)::VARCHAR AS ended_at, sum(strlen(array_to_string(map_keys(tags), '')))::VARCHAR AS keys,
		sum(strlen(array_to_string(map_values(tags), '')))::VARCHAR AS values,
		sum(strlen(extra_tags['account_name']))::VARCHAR AS extra,
		(SELECT count(*) %[1]s WHERE account_id = '%[2]s' AND region = '%[3]s')::VARCHAR AS found,
		(SELECT count(*) %[1]s WHERE id = '%[4]s')::VARCHAR AS one,
		(SELECT count(*) %[1]s WHERE valid_from >= make_timestamptz(%[5]d))::VARCHAR AS late,
		(SELECT count(*) %[1]s WHERE kind > 'ec2_instance')::VARCHAR AS none %[1]s`,
		from,
		looked.AccountID,
		looked.Region,
		looked.ID,
		noon.Add(time.Duration(len(rows)-101)*time.Second).UnixMicro(),
	)
	read := 0
	for _, r := range externalReaders {
		if r.sql == nil || exec.Command(r.installed[0], r.installed[1:]...).Run() != nil {
			continue
		}
		read++
		t.Run(r.name, func(t *testing.T) {
			if d := cmp.Diff([]map[string]any{want}, runQuery(t, r.sql(query))); d != "" {
				t.Error(d)
			}
		})
	}
	if read == 0 {
		t.Skip("SKIPPED, NOT PASSED: no external Parquet reader with SQL is installed: duckdb or @duckdb/node-api")
	}
}
