#!/usr/bin/env bash
# A real Prometheus scrapes the metrics and the inventory of `collector demo` and discovers its instances. Both targets
# must be up, PromQL must find their series, and the alerts of deploy/prometheus/alerts.yml must fire for the demo's
# broken accounts and for nothing else.
#
#   .ci/prometheus.sh [BINARY]     default: build it
#
# Needs Debian's prometheus (with promtool), jq and curl. Everything listens on loopback and ends with the script.
set -euo pipefail

cd "$(dirname "$0")/.."
work=$(mktemp -d)
pids=()

say() { printf '  %s\n' "$*"; }
fail() {
  printf '  FAILED: %s\n' "$*" >&2
  tail -n 30 "$work"/*.log >&2 || true
  exit 1
}

clean() {
  local rc=$?
  trap - EXIT
  local pid
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
  exit "$rc"
}
trap clean EXIT
trap 'exit 130' INT TERM

# free: sets port to a free loopback port.
free() {
  for _ in $(seq 50); do
    port=$((20000 + RANDOM % 12000)) # below the kernel's range for outgoing connections
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
  done
  fail "no free port"
}

get() { curl --silent --show-error --fail --max-time 10 "$@"; }

# until_true SECONDS WHAT COMMAND…
until_true() {
  local limit=$1 what=$2
  shift 2
  SECONDS=0
  until "$@"; do
    [ "$SECONDS" -lt "$limit" ] || fail "$what: not within $limit s"
    sleep 0.5
  done
  say "$what: after $SECONDS s"
}

for tool in prometheus promtool jq curl; do
  command -v "$tool" >/dev/null || fail "$tool is not here"
done
collector=${1:-}
if [ -z "$collector" ]; then
  collector=$work/collector
  go build -o "$collector" ./cmd/collector
fi
collector=$(realpath "$collector")

free
target=127.0.0.1:$port
"$collector" demo --listen "$target" --dir "$work/demo" --every 5s --accounts 15 --days 0 >"$work/demo.log" 2>&1 &
demo=$!
pids+=("$demo")
healthy() {
  kill -0 "$demo" 2>/dev/null || fail "the demo ended by itself"
  get "http://$target/-/healthy" >/dev/null 2>&1
}
until_true 60 "the demo is healthy" healthy

free
server=http://127.0.0.1:$port
sed -e 's/scrape_interval: .*/scrape_interval: 1s/' -e 's/^global:/&\n  evaluation_interval: 1s/' \
  -e "s/collector:9420/$target/" deploy/prometheus/prometheus.yml >"$work/prometheus.yml"
sed -e 's/ for: .*/ for: 5s/' deploy/prometheus/alerts.yml >"$work/alerts.yml"
grep -q "$target" "$work/prometheus.yml" || fail "deploy/prometheus/prometheus.yml names no target collector:9420"
cat >>"$work/prometheus.yml" <<EOF
  # As in the comment of deploy/prometheus/prometheus.yml. Nothing listens at these addresses, so only the discovery is checked.
  - job_name: nodes
    http_sd_configs: [{url: "http://$target/api/v1/sd/nodes", refresh_interval: 1s}]
    scrape_interval: 1h
EOF
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
  --web.listen-address="${server#http://}" --log.level=warn >"$work/prometheus.log" 2>&1 &
pids+=($!)

up() {
  get "$server/api/v1/targets" 2>/dev/null >"$work/targets.json" &&
    jq -e '[.data.activeTargets[] | select(.scrapePool != "nodes")] | length == 2 and all(.health == "up")' "$work/targets.json" >/dev/null
}
until_true 90 "Prometheus says that both of its targets are up" up
discovered() {
  get "$server/api/v1/targets" >"$work/targets.json" &&
    jq -e '[.data.activeTargets[] | select(.scrapePool == "nodes") | .discoveredLabels.__meta_ec2_instance_state] | length > 0 and all(. == "running")' "$work/targets.json" >/dev/null
}
until_true 60 "it discovers the demo's instances" discovered

# query PROMQL: prints lines "label=value … number".
query() {
  get --get --data-urlencode "query=$1" "$server/api/v1/query" |
    jq -r '.data.result[] | ([.metric | to_entries[] | "\(.key)=\(.value)"] + [.value[1]]) | join(" ")'
}
# Wait for one run of each account of the demo before the checks.
# The organization's account lists its members: four are active, and one of the four lacks the role.
accounts=$(($(grep -c '^  - name: ' "$work/demo/config.yaml") + 1 + 4))
collected() { [ "$(query 'count(sum by (account) (collector_runs_total) > 0)' | tr -d ' ')" = "$accounts" ]; }
until_true 90 "PromQL says that each of the demo's $accounts accounts had a run" collected
query 'sort(sum by (account, state) (collector_targets) > 0)' | tee "$work/answer" | sed 's/^/    /'
# All ways to sign in work, except for the account with the deleted key and the member without the role. The
# organization's account has no targets while it can be listed.
expected=$((accounts - 3))
ok=$(grep -c 'state=ok ' "$work/answer" || true)
[ "$ok" = "$expected" ] || fail "$ok accounts have targets in state ok, want $expected"
# The account sandbox has denied targets; kinds with a denied parent are skipped.
broken=$(grep -v 'state=ok \|state=denied \|state=skipped ' "$work/answer" | cut -d ' ' -f 1,2 | sort)
[ "$broken" = "account=legacy state=auth_failed
account=new-team state=auth_failed" ] || fail "in trouble without a reason: $broken"

firing() {
  query 'sort(count by (alertname, account) (ALERTS{alertstate="firing"}))' | sort >"$work/alerts"
  [ "$(cut -d ' ' -f 1,2 "$work/alerts")" = "account=legacy alertname=CollectorNeverComplete
account=legacy alertname=CollectorSignInFailing
account=new-team alertname=CollectorNeverComplete
account=new-team alertname=CollectorSignInFailing
account=sandbox alertname=CollectorNeverComplete" ]
}
until_true 60 "the alerts of the three broken accounts fire, and no others" firing

for name in aws_ec2_instance_info collector_inventory_omitted_series collector_runs_total collector_last_success_timestamp_seconds collector_resources collector_api_requests_total collector_account_info collector_build_info; do
  [ -n "$(query "count($name)")" ] || fail "PromQL knows no $name"
done
say "series in all: $(query 'sum(scrape_samples_scraped)')"

for path in /metrics /metrics/inventory; do
  get "http://$target$path" >"$work/metrics"
  promtool check metrics <"$work/metrics" >"$work/lint" 2>&1 || { cat "$work/lint" >&2; fail "promtool check metrics of $path"; }
  [ ! -s "$work/lint" ] || { cat "$work/lint" >&2; fail "promtool check metrics of $path is not clean"; }
done
say "promtool check metrics: clean"

kill -TERM "$demo"
rc=0
wait "$demo" || rc=$?
[ "$rc" -eq 0 ] || fail "the demo ended with $rc after SIGTERM"
say "the demo ended with 0 after SIGTERM"
