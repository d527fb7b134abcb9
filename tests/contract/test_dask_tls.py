"""A TLS connection that breaks ends no other one of its thread, with whatever Python and OpenSSL run here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.commandline import ROOT
from tests.support.secure_stack import Certificates

# In a process of its own, since what is tested changes the `ssl` of the one that imports it.
SCRIPT = """
import socket, ssl, sys
from pipeline.sources.backups.crew import dask_tls

server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
server.load_cert_chain(*sys.argv[2:])
client.load_verify_locations(sys.argv[1])

def pair():
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    ends = [
        client.wrap_socket(ends[0], server_hostname="127.0.0.1", do_handshake_on_connect=False),
        server.wrap_socket(ends[1], server_side=True, do_handshake_on_connect=False),
    ]
    left = list(ends)
    while left:
        for end in tuple(left):
            try:
                end.do_handshake()
                left.remove(end)
            except ssl.SSLWantReadError:
                pass
    return ends

def read(end):
    try:
        return end.recv(9)
    except OSError as error:
        return type(error).__name__

(_, other), (peer, broken) = pair(), pair()
read(peer)  # the tickets of the session
peer.close()
print(read(broken) in (b"", "BrokenPipeError", "ConnectionResetError", "SSLEOFError"), read(other))
"""


def test_a_connection_that_breaks_ends_no_other_one(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    pair = certificates.issue("server", "127.0.0.1")
    argv = [sys.executable, "-c", SCRIPT, str(certificates.ca), *map(str, pair)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True SSLWantReadError\n", "")
