"""A host whose first process is systemd, set up as the documentation says; the units run on it for real.

``make machine`` builds a Debian (once), boots it with systemd-nspawn in a network of its own, starts the
local stack beside it, types what ``infra/schedule/README.md`` and the runbooks say, and lets the units fail
and recover. It needs root, and prints everything that is typed and what came of it.
"""
