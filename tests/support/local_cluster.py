"""A cluster of processes on this machine, as Dask makes one; each line of standard input is their number."""

from __future__ import annotations

import sys

from distributed import LocalCluster
from distributed.security import Security

from pipeline.sources.backups.crew import dask_tls  # noqa: F401 - for what its import does


def main(preload: str, ca: str, cert: str, key: str) -> None:
    """Say where it is, and serve until standard input ends."""
    pair = {f"tls_{role}_{part}": path for role in ("client", "scheduler", "worker")
            for part, path in (("cert", cert), ("key", key))}  # fmt: skip
    security = Security(tls_ca_file=ca, require_encryption=True, **pair)
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
        security=security, preload=[preload], preload_argv=[["--crew-key-file", "crew.key"]],
    ) as cluster:  # fmt: skip
        print("Scheduler at:", cluster.scheduler_address, file=sys.stderr, flush=True)
        for line in sys.stdin:
            cluster.scale(int(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
