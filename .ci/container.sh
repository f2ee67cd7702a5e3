#!/usr/bin/env bash
# Builds the image of ../Dockerfile without a container engine and without a registry, checks it, and runs it as in
# production: not as root, with a read-only root file system, no capabilities, one volume and only loopback.
#
#   .ci/container.sh [FOLDER]     FOLDER contains the Dockerfile and its context; default: the repository
#
# Needs root, and Debian's buildah, umoci, runc, busybox-static and jq. It uses Go's build cache.
# It writes to one temporary folder, which it removes at the end.
set -euo pipefail

context=$(cd "${1:-$(dirname "$0")/..}" && pwd)
work=$(mktemp -d)
export CONTAINERS_STORAGE_CONF=$work/storage.conf TMPDIR=$work/tmp
mkdir -p "$work/tmp"
pids=()

say() { printf '  %s\n' "$*"; }
fail() { printf '  FAILED: %s\n' "$*" >&2; exit 1; }

# A container has the name of its bundle's folder.
runc() { command runc --root "$work/runc" "$@"; }

clean() {
  local rc=$?
  trap - EXIT
  if [ -d "$work/runc" ]; then
    local name
    for name in $(runc list --quiet 2>/dev/null); do runc delete --force "$name" || true; done
  fi
  local pid
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  buildah rm --all >/dev/null 2>&1 || true
  buildah rmi --all --force >/dev/null 2>&1 || true
  # Overlay has a mount below the store.
  if mountpoint -q "$work/store/overlay"; then umount "$work/store/overlay" || true; fi
  rm -rf "$work" || true
  exit "$rc"
}
trap clean EXIT
trap 'exit 130' INT TERM

# A build stage needs a shell, cp, mkdir, a CA bundle and Go. The image built here contains this machine's first four; Go,
# its modules and a build cache are mounted, so that the build neither downloads nor compiles what exists already.
base() {
  local container root name
  container=$(buildah from scratch)
  root=$(buildah mount "$container")
  mkdir -p "$root"/{bin,tmp,root,etc/ssl/certs}
  cp "$(command -v busybox)" "$root/bin/busybox"
  for name in sh cp mkdir; do ln -s busybox "$root/bin/$name"; done
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  buildah config --env PATH=/usr/local/go/bin:/bin --env GOTOOLCHAIN=local --env GOFLAGS=-modcacherw \
    --env GOPROXY=file:///host/modules --env GOSUMDB=off --env GOCACHE=/host/build "$container"
  buildah umount "$container" >/dev/null
  buildah commit --quiet "$container" localhost/go-build >/dev/null
  buildah rm "$container" >/dev/null
}

# build ARCH: the image localhost/collector:ARCH. docker sets BUILDPLATFORM itself; an older buildah does not.
build() {
  buildah build --quiet --format docker --pull-never --isolation "$isolation" --platform "linux/$1" \
    --build-arg BUILDPLATFORM="linux/$(go env GOHOSTARCH)" \
    --build-arg GO_IMAGE=localhost/go-build --build-arg VERSION="$version" --build-arg REVISION="$revision" \
    --build-arg DATE="$date" \
    --build-arg CREATED="$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    --volume "$(go env GOROOT):/usr/local/go:ro" \
    --volume "$(go env GOMODCACHE)/cache/download:/host/modules:ro" \
    --volume "$cache:/host/build:rw" \
    --tag "localhost/collector:$1" "$context" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; return 1; }
}

# A sandbox may forbid namespaces or overlay mounts. The slower methods test the Dockerfile equally well.
choose() {
  for driver in overlay vfs; do
    for isolation in oci chroot; do
      printf '[storage]\ndriver = "%s"\ngraphroot = "%s"\nrunroot = "%s"\n' "$driver" "$work/store" "$work/run" >"$work/storage.conf"
      if base 2>"$work/try.log" && printf 'FROM localhost/go-build\nRUN mkdir /probe\n' >"$work/Probe" &&
        buildah build --quiet --pull-never --isolation "$isolation" --file "$work/Probe" "$work/tmp" >>"$work/try.log" 2>&1; then
        say "buildah: storage $driver, isolation $isolation"
        return
      fi
      say "buildah cannot build here with storage $driver and isolation $isolation: $(tail -n 1 "$work/try.log")"
      buildah rm --all >/dev/null 2>&1 || true
      buildah rmi --all --force >/dev/null 2>&1 || true
    done
  done
  fail "buildah can build nothing here: it needs root with CAP_SYS_ADMIN (mount, chroot)"
}

# expect WHAT GOT WANTED
expect() {
  [ "$2" = "$3" ] || fail "$1 is $2, want $3"
  say "$1: $2"
}

look() {
  buildah inspect --type image localhost/collector:amd64 >"$work/image.json"
  of() { jq -c "$1" "$work/image.json"; }
  expect "user" "$(of .OCIv1.config.User)" '"65532:65532"'
  expect "entry point" "$(of '.OCIv1.config | .Entrypoint + .Cmd')" '["/collector","run"]'
  expect "health check" "$(of .Docker.config.Healthcheck.Test)" '["CMD","/collector","healthcheck"]'
  expect "volume" "$(of '.OCIv1.config.Volumes | keys')" '["/data"]'
  expect "port" "$(of '.OCIv1.config.ExposedPorts | keys')" '["9420/tcp"]'
  expect "stop signal" "$(of .OCIv1.config.StopSignal)" '"SIGTERM"'
  expect "label version" "$(of '.OCIv1.config.Labels["org.opencontainers.image.version"]')" "\"$version\""
  expect "label revision" "$(of '.OCIv1.config.Labels["org.opencontainers.image.revision"]')" "\"$revision\""

  local container root
  container=$(buildah from --pull-never localhost/collector:arm64)
  root=$(buildah mount "$container")
  # Bytes 18 and 19 of an ELF file are its machine; 183 is AArch64.
  expect "ELF machine of arm64's binary" "$(od -An -tu2 -j18 -N2 "$root/collector" | tr -d ' ')" 183
  buildah rm "$container" >/dev/null
}

# bundle NAME COMMAND…: the image unpacked as an OCI bundle that runs COMMAND.
bundle() {
  local name=$1
  shift
  umoci unpack --image "$work/oci:ci" "$work/$name" >/dev/null
  jq '
    .root.readonly = true
    | .process.terminal = false
    | .process.noNewPrivileges = true
    | .process.capabilities = {}
    | .process.env += ["AWS_EC2_METADATA_DISABLED=true"]
    | .process.args = ["/collector"] + $ARGS.positional
    | .mounts |= (map(select(.destination != "/data"))
        + [{destination: "/data", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "noexec", "mode=0700", "uid=65532", "gid=65532"]}])
  ' "$work/$name/config.json" --args -- "$@" >"$work/config.json"
  mv "$work/config.json" "$work/$name/config.json"
}

# mounted NAME FILE PATH: mounts FILE at PATH, read-only. The mount point must exist: the root file system is read-only.
mounted() {
  install -D -m 0644 /dev/null "$work/$1/rootfs$3"
  jq --arg from "$2" --arg to "$3" \
    '.mounts += [{destination: $to, type: "bind", source: $from, options: ["bind", "ro"]}]' "$work/$1/config.json" >"$work/config.json"
  mv "$work/config.json" "$work/$1/config.json"
}

# start NAME: waits until the health check inside the container succeeds.
start() {
  runc run --bundle "$work/$1" "$1" >"$work/$1.log" 2>&1 &
  pids+=($!)
  running=$!
  local try
  for try in $(seq 120); do
    if runc exec "$1" /collector healthcheck >"$work/health.log" 2>&1; then
      say "$1: its own health check says healthy, try $try"
      return
    fi
    kill -0 "$running" 2>/dev/null || break
    sleep 0.5
  done
  cat "$work/health.log" "$work/$1.log" >&2
  fail "$1: not healthy"
}

stop() {
  local rc=0
  runc kill "$1" TERM
  wait "$running" || rc=$?
  if [ "$rc" -ne 0 ]; then cat "$work/$1.log" >&2; fi
  expect "$1: exit code after SIGTERM" "$rc" 0
}

# scrape NAME: prints its metrics, from inside its network, which has only loopback.
scrape() {
  nsenter --target "$(runc state "$1" | jq .pid)" --net curl --silent --show-error --fail --max-time 10 http://127.0.0.1:9420/metrics
}

[ "$(id -u)" = 0 ] || fail "not root: mounting, unpacking and running an image need it"
for tool in buildah umoci runc busybox jq curl nsenter go; do
  command -v "$tool" >/dev/null || fail "$tool is not here"
done
version=$(git -C "$context" describe --tags --always --dirty 2>/dev/null || echo v0.0.0-ci)
revision=$(git -C "$context" rev-parse HEAD 2>/dev/null || echo unknown)
date=$(git -C "$context" log -1 --format=%cI 2>/dev/null || echo unknown)
cache=$(go env GOCACHE)

choose
for arch in amd64 arm64; do
  SECONDS=0
  build "$arch" || fail "the image for $arch cannot be built"
  say "image for $arch: built in $SECONDS s"
done
look

buildah push --quiet localhost/collector:amd64 "oci:$work/oci:ci" >/dev/null
say "size: $(jq '[.layers[].size] | add / 1048576 | floor' <(jq -r '.manifests[0].digest | sub(":"; "/")' "$work/oci/index.json" | xargs -I{} cat "$work/oci/blobs/{}")) MiB compressed"

# The daemon, with the configuration and secrets that ../deploy/compose.yaml mounts.
bundle daemon run
mounted daemon "$context/deploy/config.yaml" /etc/collector/config.yaml
for name in ak_id ak_secret; do
  case $name in
  ak_id) echo AKIAIOSFODNN7EXAMPLE ;;
  ak_secret) echo wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY ;;
  esac >"$work/$name"
  chmod 0644 "$work/$name"
  mounted daemon "$work/$name" "/run/secrets/$name"
done
start daemon
expect "daemon: its version" "$(runc exec daemon /collector version | cut -d , -f 1-2)" \
  "collector $version (revision $revision, date $date"
expect "daemon: user id" "$(awk '/^Uid:/ {print $2}' "/proc/$(runc state daemon | jq .pid)/status")" 65532
expect "daemon: capabilities" "$(awk '/^CapEff:/ {print $2}' "/proc/$(runc state daemon | jq .pid)/status")" 0000000000000000
scrape daemon | grep '^collector_build_info' >/dev/null || fail "daemon: no collector_build_info in its metrics"
stop daemon

# The demo with its fake AWS, with the same restrictions.
bundle demo demo --accounts 15 --days 1
start demo
for _ in $(seq 60); do
  if scrape demo >"$work/metrics" && grep -q '^collector_targets{.*state="ok".* [1-9]' "$work/metrics"; then break; fi
  sleep 1
done
say "demo: $(grep -c '^collector_targets{' "$work/metrics" || true) series of collector_targets"
grep -q '^collector_targets{.*state="ok".* [1-9]' "$work/metrics" || { tail -n 50 "$work/demo.log" >&2; fail "demo: nothing collected within 60 s"; }
stop demo
