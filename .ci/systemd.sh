#!/usr/bin/env bash
# Lets systemd's own tools check the files of deploy/systemd, below a folder: nothing is installed or started here.
set -euo pipefail
cd "$(dirname "$0")/../deploy/systemd"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '  %s\n' "$*"; }
fail() { printf '  FAILED: %s\n' "$*" >&2; exit 1; }

if [ "$(id -u)" = 0 ]; then
  # The user and the folders, as at an installation.
  mkdir -p "$work/system/etc" "$work"/system/usr/lib/{sysusers,tmpfiles}.d
  cp sysusers.conf "$work/system/usr/lib/sysusers.d/collector.conf"
  cp tmpfiles.conf "$work/system/usr/lib/tmpfiles.d/collector.conf"
  systemd-sysusers --root="$work/system" collector.conf 2>/dev/null
  grep -q '^collector:.*:/var/lib/collector:/usr/sbin/nologin$' "$work/system/etc/passwd" || fail "no user collector"
  systemd-tmpfiles --root="$work/system" --create collector.conf
  for folder in etc/collector:750 etc/collector/credentials:700 var/lib/collector:700; do
    mode=$(stat -c %a "$work/system/${folder%:*}")
    [ "$mode" = "${folder#*:}" ] || fail "/${folder%:*} has the mode $mode"
  done
  say "systemd-sysusers and systemd-tmpfiles make the user and its folders"
else
  say "!!! SKIPPED: not root: the user and the folders were not made"
fi

# It wants a program that exists.
sed "s,^ExecStart=/usr/bin/collector ,ExecStart=$(command -v true) ," collector.service >"$work/collector.service"
systemd-analyze verify --man=no "$work/collector.service" 2>&1 | grep collector.service &&
  fail "systemd-analyze verify"

# 20 is an exposure of 2.0.
systemd-analyze security --offline=yes --threshold=20 --no-pager collector.service >"$work/security" || {
  cat "$work/security"
  fail "the service may do more than it needs"
}
say "systemd-analyze: $(tail -n 1 "$work/security" | tr -cd '[:print:]')"
