#!/bin/sh
# Debian says "remove", RPM the number of versions that stay; on an upgrade jobs go on.
set -e
case "$1" in remove | 0) ;; *) exit 0 ;; esac
if [ -d /run/systemd/system ]; then
  systemctl stop 'orgkey@*.service' 'orgkey-*@*.timer' 'orgkey-*@*.service'
  find /etc/systemd/system -type l \( -name 'orgkey@*.service' -o -name 'orgkey-*@*.timer' \) -delete
fi
