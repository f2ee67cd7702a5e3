#!/bin/sh
# After the package was installed or upgraded. The service is not started at the first installation: its configuration
# needs accounts. DPKG_ROOT is the folder that dpkg --root installs into.
set -e
root=${DPKG_ROOT:-}
systemd-sysusers --root="$root/" collector.conf
systemd-tmpfiles --root="$root/" --create collector.conf
# The package cannot name a group that it creates itself.
group=$(awk -F : '$1 == "collector" { print $3 }' "$root/etc/group")
if [ "$(stat -c %g "$root/etc/collector/config.yaml")" = 0 ]; then
    chgrp "$group" "$root/etc/collector/config.yaml"
fi
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl try-restart collector.service
fi
