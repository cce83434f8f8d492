"""Postgres: the real server, on loopback and Docker's bridge, with the application's database and Prefect's.

It refuses to run as root, so root runs it as the system's `postgres` user, or as `nobody`. Where that
user can't reach into the checkout (a clone in `/root`), the data lies in `/var/lib/pointsman-sandbox`.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from core.errors import Permanent, Refused
from sandbox.kept_secrets import kept_secret
from sandbox.part import Listener, Part
from sandbox.process import Identity, User, working_below
from sandbox.settings import Settings

__all__ = [
    "APPLICATION_DATABASE",
    "OWNER",
    "PREFECT_DATABASE",
    "Postgres",
    "binaries",
    "create_databases",
    "data_directory",
    "database_url",
]

OWNER = "pointsman"
APPLICATION_DATABASE = "connections"
PREFECT_DATABASE = "prefect"

_OUTSIDE = Path("/var/lib/pointsman-sandbox")
# A crash of the machine may lose a sandbox; a crash of the server may not, and does not.
_CONFIGURATION = """\
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum_naptime = 10min
log_line_prefix = '%m [%p] %d '
password_encryption = 'scram-sha-256'
"""
_ADMISSION = """\
# The server listens on loopback and Docker's bridge only; every connection needs the password.
host all all 0.0.0.0/0 scram-sha-256
"""


def _password(settings: Settings) -> str:
    return kept_secret(settings, "postgres-password")


def database_url(settings: Settings, database: str, *, host: str = "127.0.0.1", scheme: str = "postgresql") -> str:
    """Return the URL of one of the databases, password included, as seen from `host`."""
    secret = quote(_password(settings), safe="")
    return f"{scheme}://{OWNER}:{secret}@{host}:{settings.ports.postgres}/{database}"


def data_directory(settings: Settings) -> Path:
    """Return where the data really lies: in the sandbox, or outside the checkout if a link says so."""
    return settings.directories.postgres.resolve()


class Postgres(Part):
    """The database server, with the application's database and Prefect's."""

    name = "postgres"
    needs = ("docker",)
    start_seconds = 30.0
    stop_seconds = 8.0
    # "Fast": sessions are cut, then a clean end; SIGTERM would wait for the clients.
    stop_signal = signal.SIGINT

    @property
    def address(self) -> str:
        """Host and port on loopback."""
        return f"127.0.0.1:{self.settings.ports.postgres}"

    def listeners(self) -> tuple[Listener, ...]:
        """Return its port on loopback and on Docker's bridge."""
        port, variable = self.settings.ports.postgres, "POINTSMAN_SANDBOX_POSTGRES_PORT"
        return (Listener("127.0.0.1", port, variable), Listener(self.settings.bridge, port, variable))

    def prepare(self) -> None:
        """Make the data directory, and write where to listen."""
        _prepare(self.settings)

    def command(self) -> list[str]:
        """Return the server's."""
        return [str(binaries() / "postgres"), "-D", str(data_directory(self.settings))]

    def directory(self) -> Path:
        """Return the data directory, which its user can read."""
        return data_directory(self.settings)

    def user(self) -> User | None:
        """Return an unprivileged account if we are root."""
        return _user()

    def is_healthy(self) -> bool:
        """Return whether it takes connections."""
        import psycopg

        try:
            psycopg.connect(database_url(self.settings, "postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def finish(self) -> None:
        """Make the databases that are missing."""
        create_databases(self.settings, APPLICATION_DATABASE, PREFECT_DATABASE)

    def leftovers(self) -> list[Identity]:
        """Return what works in the data directory: its sessions overwrite their marks."""
        return working_below(self.directory()) if self.settings.directories.postgres.exists() else []


@functools.cache
def _user() -> User | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(name, entry.pw_uid, entry.pw_gid)
    raise Refused("Postgres can't run as root, and this machine has no user postgres or nobody", do="Add one.")


@functools.cache
def binaries() -> Path:
    """Return the newest directory that has both `initdb` and `postgres`."""
    candidates = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: [int(number) for number in path.parent.name.split(".") if number.isdigit()],
        reverse=True,
    )
    if config := shutil.which("pg_config"):
        asked = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        candidates.append(Path(asked.stdout.strip()))
    if initdb := shutil.which("initdb"):
        candidates.append(Path(initdb).resolve().parent)
    for directory in candidates:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    raise Refused(
        "The PostgreSQL server is not installed",
        why="no initdb in /usr/lib/postgresql/*/bin, beside pg_config or in PATH",
        do="Install Debian's package postgresql (scripts/setup does), then try again.",
    )


def _prepare(settings: Settings) -> None:
    user, link = _user(), settings.directories.postgres
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists() and not link.is_symlink():
        if user is None or _reaches(user, link.parent):
            link.mkdir(mode=0o700)
        else:
            outside = _OUTSIDE / settings.identity
            outside.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            shutil.rmtree(outside, ignore_errors=True)
            outside.mkdir(mode=0o700)
            link.symlink_to(outside)
    data = data_directory(settings)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if user is not None:
        os.chown(data, user.uid, user.gid)
    # The configuration is written last: a directory without it was left by an interrupted start.
    if not (data / "pointsman.conf").exists():
        _initialise(settings, data, user)
    listen = f"listen_addresses = '127.0.0.1,{settings.bridge}'\nport = {settings.ports.postgres}\n"
    (data / "pointsman.conf").write_text(listen + _CONFIGURATION)
    if not working_below(data):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _initialise(settings: Settings, data: Path, user: User | None) -> None:
    for left in data.iterdir():
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    reader, writer = os.pipe()
    if user is not None:
        # initdb opens the pipe anew by its name, as the user that it runs as.
        os.fchown(reader, user.uid, user.gid)
    os.write(writer, _password(settings).encode() + b"\n")
    os.close(writer)
    made = subprocess.run(
        [
            str(binaries() / "initdb"),
            "--pgdata",
            str(data),
            "--username",
            OWNER,
            "--pwfile",
            f"/dev/fd/{reader}",
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale",
            "C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ],
        pass_fds=(reader,),
        cwd=data,
        capture_output=True,
        text=True,
        check=False,
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )
    os.close(reader)
    if made.returncode != 0:
        raise Permanent(f"Postgres' data directory {data} can't be created", why=made.stderr.strip())
    (data / "pg_hba.conf").write_text(_ADMISSION)
    with (data / "postgresql.conf").open("a") as file:
        file.write("include 'pointsman.conf'\n")


def _reaches(user: User, directory: Path) -> bool:
    tried = subprocess.run(
        ["test", "-x", str(directory)], user=user.uid, group=user.gid, extra_groups=[], cwd="/", check=False
    )
    return tried.returncode == 0


def create_databases(settings: Settings, *names: str) -> None:
    """Make the databases of these names that are missing; Postgres must run."""
    import psycopg
    from psycopg.sql import SQL, Identifier

    url = database_url(settings, "postgres")
    try:
        with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
            there = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            for name in names:
                if name not in there:
                    connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    except psycopg.Error as error:
        raise Permanent(
            "Postgres runs, but its databases can't be made",
            why=str(error),
            do=f"Its log: {settings.directories.logs / 'postgres.log'}",
        ) from error
