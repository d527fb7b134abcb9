#!/bin/sh
# The jobs' user, and the group of the configurations. No job is enabled: it needs a configuration and logins first.
set -e
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers orgkey.conf
elif ! getent passwd orgkey >/dev/null; then
  useradd --system --user-group --home-dir /var/lib/orgkey --no-create-home --shell /usr/sbin/nologin orgkey
fi
# Configurations may be read by the jobs' user, credentials by root alone.
[ -d /etc/orgkey ] || install -d -m 750 -g orgkey /etc/orgkey
[ -d /etc/orgkey/credentials ] || install -d -m 700 /etc/orgkey/credentials
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  # What runs the old program; timers start the new one by themselves.
  systemctl try-restart 'orgkey@*.service'
fi
