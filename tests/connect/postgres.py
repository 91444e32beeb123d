"""A PostgreSQL of the machine, with a new cluster of databases for one test."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from stack.ports import HOST, free_ports
from stack.service import Command, Service

USER = "images"


class Postgres(Service):
    """A server on 127.0.0.1 with the database `images`. Its test is skipped where there is none.

    Args:
        directory: for its data; a user other than root must be able to reach it.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__("postgres", directory)
        self._programs = programs()
        self.port = free_ports(1)[0]
        self.password = secrets.token_urlsafe()

    @property
    def jdbc(self) -> str:
        return f"jdbc:postgresql://{HOST}:{self.port}/{USER}"

    def query(self, sql: str) -> list[tuple[str, ...]]:
        """The rows of a statement, as text."""
        done = self._psql(USER, sql)
        assert done.returncode == 0, done.stderr
        return [tuple(line.split("\x1f")) for line in done.stdout.splitlines()]

    def _psql(self, database: str, sql: str) -> subprocess.CompletedProcess[str]:
        address = ["-h", HOST, "-p", str(self.port), "-U", USER, "-d", database]
        how = ["-AtXq", "-F", "\x1f", "-v", "ON_ERROR_STOP=1"]
        return subprocess.run(
            [self._programs / "psql", *address, *how, "-c", sql],
            env={**os.environ, "PGPASSWORD": self.password}, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip

    def _prepare(self) -> Command:
        data = self.directory / "data"
        if not data.exists():
            password = self.directory / "password"
            password.write_text(self.password)
            if os.geteuid() == 0:
                for path in (self.directory, password):
                    shutil.chown(path, "postgres", "postgres")
            subprocess.run(
                [*_not_root(), self._programs / "initdb", "-D", data, "-U", USER, "-A",
                 "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--no-sync"],
                check=True, capture_output=True, timeout=300, cwd=self.directory,
            )  # fmt: skip
        options = [
            f"-cport={self.port}",
            f"-clisten_addresses={HOST}",
            "-cunix_socket_directories=",
        ]
        return Command([*_not_root(), str(self._programs / "postgres"), "-D", str(data), *options])

    def _is_ready(self) -> bool:
        made = self._psql("postgres", f"CREATE DATABASE {USER}")
        return made.returncode == 0 or "already exists" in made.stderr


def programs() -> Path:
    """The folder of its newest version's programs; the test is skipped where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: one.parts[-3])
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL is missing (Debian: apt install postgresql)")
    return Path(initdb).parent


def _not_root() -> list[str]:
    """It refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
