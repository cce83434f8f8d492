"""A real Postgres for tests, with nothing in it, on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.postgres import binaries


@contextmanager
def running_postgres() -> Iterator[str]:
    """The address of a server's database; the server listens on a port of its own and on a socket in `/tmp`."""
    initdb, server = (str(binaries() / name) for name in ("initdb", "postgres"))
    user: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    home = Path(tempfile.mkdtemp(prefix="pointsman-pg-", dir="/tmp"))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    try:
        if user:
            shutil.chown(home, "nobody", "nogroup")
        data = home / "data"
        made = [initdb, "-D", str(data), "-U", "app", "-A", "trust", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd="/", **user)
        options = ["-D", str(data), "-k", str(home), "-c", "listen_addresses=127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(
            [server, *options, "-c", "fsync=off"],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **user,
        )
        try:
            address = f"postgresql://app@127.0.0.1:{port}/postgres"
            end = time.monotonic() + 30
            while subprocess.run(["psql", address, "-c", ""], capture_output=True, check=False).returncode != 0:
                assert time.monotonic() < end, "Postgres did not start"
                time.sleep(0.1)
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def query(address: str, sql: str) -> str:
    """What `psql` prints of a query's rows."""
    command = ["psql", address, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
    return subprocess.run(command, input=sql, text=True, check=True, capture_output=True).stdout.strip()
