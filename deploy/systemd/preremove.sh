#!/bin/sh
# Before the package is removed; dpkg passes "remove" then, rpm passes 0. At an upgrade the service keeps running.
# /etc/collector and /var/lib/collector stay.
set -e
case ${1:-} in
remove | 0)
    if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then systemctl disable --now collector.service; fi
    ;;
esac
