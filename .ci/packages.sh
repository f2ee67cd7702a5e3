#!/usr/bin/env bash
# Checks the files of a release: the packages for Debian and Red Hat have what the program and its service need, and
# they can be installed and removed, below a folder. Nothing is installed on this machine.
#
#   .ci/packages.sh DIST     DIST is what deploy/release wrote
set -euo pipefail
dist=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '  %s\n' "$*"; }
fail() { printf '  FAILED: %s\n' "$*" >&2; exit 1; }

arch=$(go env GOHOSTARCH)
program=$dist/collector_linux_$arch/collector
version=$("$program" version | sed -E 's/^collector v([^ ]+) .*/\1/')

(cd "$dist" && sha256sum --check --quiet SHA256SUMS) || fail "the checksums"
for file in "collector_${version}_linux_$arch".{tar.gz,cdx.json}; do
  grep -q "  $file\$" "$dist/SHA256SUMS" || fail "SHA256SUMS does not have $file"
done
tar -xzf "$dist/collector_${version}_linux_$arch.tar.gz" -C "$work"
cmp "$work/collector" "$program" || fail "the archive has another program"
say "$(wc -l <"$dist/SHA256SUMS") files with checksums"

# want_modes FORMAT: the files of a package and their modes.
want_modes() {
  local zsh license
  case $1 in
  deb) zsh=zsh/vendor-completions license=doc/collector/copyright ;;
  rpm) zsh=zsh/site-functions license=licenses/collector/LICENSE ;;
  esac
  cat <<END
-rw-r----- /etc/collector/config.yaml
-rw-r--r-- /usr/lib/systemd/system/collector.service
-rw-r--r-- /usr/lib/sysusers.d/collector.conf
-rw-r--r-- /usr/lib/tmpfiles.d/collector.conf
-rw-r--r-- /usr/share/$license
-rw-r--r-- /usr/share/$zsh/_collector
-rw-r--r-- /usr/share/bash-completion/completions/collector
-rw-r--r-- /usr/share/doc/collector/THIRD_PARTY_NOTICES
-rw-r--r-- /usr/share/doc/collector/alerts.yml
-rw-r--r-- /usr/share/doc/collector/config.example.yaml
-rw-r--r-- /usr/share/fish/vendor_completions.d/collector.fish
-rw-r--r-- /usr/share/man/man1/collector.1
-rwxr-xr-x /usr/bin/collector
drwx------ /etc/collector/credentials
drwxr-x--- /etc/collector
END
}

# installed ROOT: what is installed below ROOT works together.
installed() {
  local root=$1 unit=$1/usr/lib/systemd/system/collector.service executable config
  executable=$(sed -n 's/^ExecStart=\([^ ]*\) run$/\1/p' "$unit")
  config=$(sed -n 's/^Environment=COLLECTOR_CONFIG=\([^ ]*\) .*/\1/p' "$unit")
  cmp "$root$executable" "$program" || fail "$executable is another program"
  "$root$executable" version | grep -q "^collector v$version " || fail "$executable has another version"
  "$root$executable" --config "$root$config" validate >/dev/null || fail "$config is not valid"
  cmp <("$program" completion bash) "$root/usr/share/bash-completion/completions/collector"
  cmp <("$program" completion fish) "$root/usr/share/fish/vendor_completions.d/collector.fish"
  cmp <("$program" completion zsh) "$root"/usr/share/zsh/*/_collector
  cmp <("$program" manual) "$root/usr/share/man/man1/collector.1"
  mandoc -T lint -W error "$root/usr/share/man/man1/collector.1"
}

deb=$(ls "$dist"/*_"$arch".deb)
# Parents, such as /usr, are in the package, too.
dpkg-deb -c "$deb" | awk '$1 != "drwxr-xr-x" { sub(/^\./, "", $6); sub(/\/$/, "", $6); print $1, $6 }' |
  sort >"$work/deb.modes"
diff <(want_modes deb | sort) "$work/deb.modes" || fail "$(basename "$deb") has other files or modes"
if [ "$(id -u)" = 0 ]; then
  root=$work/root
  mkdir -p "$root"/{etc,var/lib/dpkg/{info,updates}}
  : >"$root/var/lib/dpkg/status"
  dpkg --root="$root" --force-depends --force-script-chrootless -i "$deb" >"$work/dpkg.log" 2>&1 ||
    { cat "$work/dpkg.log"; fail "dpkg -i"; }
  installed "$root"
  group=$(awk -F : '$1 == "collector" { print $3 }' "$root/etc/group")
  [ "$(stat -c '%a %g' "$root/etc/collector/config.yaml")" = "640 $group" ] ||
    fail "the service cannot read its configuration"
  [ "$(stat -c '%a %g' "$root/etc/collector")" = "750 $group" ] || fail "the service cannot read /etc/collector"
  echo '# mine' >>"$root/etc/collector/config.yaml"
  dpkg --root="$root" --force-depends --force-script-chrootless -i "$deb" >"$work/dpkg.log" 2>&1 ||
    { cat "$work/dpkg.log"; fail "dpkg -i, again"; }
  grep -q '^# mine$' "$root/etc/collector/config.yaml" || fail "an upgrade replaced the configuration"
  dpkg --root="$root" --force-script-chrootless -r collector >"$work/dpkg.log" 2>&1 ||
    { cat "$work/dpkg.log"; fail "dpkg -r"; }
  [ ! -e "$root/usr/bin/collector" ] || fail "dpkg -r left the program"
  [ -e "$root/etc/collector/config.yaml" ] || fail "dpkg -r removed the configuration"
  say "$(basename "$deb"): installed, upgraded and removed"
else
  say "!!! SKIPPED: not root: $(basename "$deb") was not installed"
fi

case $arch in amd64) rpm_arch=x86_64 ;; arm64) rpm_arch=aarch64 ;; esac
rpm=$(ls "$dist"/*."$rpm_arch".rpm)
rpm --dbpath "$work/rpmdb" -qp --queryformat '[%{FILEMODES:perms} %{FILENAMES}\n]' "$rpm" 2>/dev/null |
  sort >"$work/rpm.modes"
diff <(want_modes rpm | sort) "$work/rpm.modes" || fail "$(basename "$rpm") has other files or modes"
rpm --dbpath "$work/rpmdb" -qpc "$rpm" 2>/dev/null | grep -qx /etc/collector/config.yaml ||
  fail "an upgrade may replace config.yaml"
mkdir "$work/rpm"
rpm --root="$work/rpm" --dbpath /rpmdb --nodeps --noscripts --nosignature -i "$rpm" >"$work/rpm.log" 2>&1 ||
  { cat "$work/rpm.log"; fail "rpm -i"; }
installed "$work/rpm"
say "$(basename "$rpm"): installed"
