"""The ledger in PostgreSQL: lost connections and commits, servers that stop and hang, other schemas, secrets."""

import logging
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.postgresql import PASSWORD, Server
from llmring.config import LedgerPlace, Settings, ledger_place, read_settings
from llmring.errors import ConfigError, ReceiptError
from llmring.ledger_url import LedgerUrl
from llmring.receipts import postgresql_connection
from llmring.receipts import writer as writer_module
from llmring.receipts.opening import open_store
from llmring.receipts.postgresql_connection import Connection
from llmring.receipts.receipt import Gap, Receipt
from tests.receipts.attempts import attempted, writer_at, written
from tests.receipts.ledgers import database_place, entries, judged, receipts
from tests.receipts.relay import Fault, Relay, open_relay


@pytest.fixture
def url(postgresql: Server) -> str:
    return postgresql.new_database()


@pytest.fixture
def place(url: str, tmp_path: Path) -> LedgerPlace:
    return database_place(url, tmp_path)


@pytest.fixture
def relay(postgresql: Server) -> Iterator[Relay]:
    with open_relay(postgresql) as relay:
        yield relay


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def attempts(place: LedgerPlace) -> list[int | None]:
    return [receipt.attempt for receipt in receipts(place)]


# Connections.


def test_a_connection_that_was_lost_while_idle_is_made_again_without_a_word(
    place: LedgerPlace, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer = written(place, attempted(1))
    run(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'llmring'")
    writer.take([attempted(2)])
    assert writer.flush()
    assert attempts(place) == [1, 2]
    assert caplog.text == ""


def test_a_server_that_stops_leaves_a_gap_once_it_is_back(
    own_postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "MOST_KEPT", 3)
    place = database_place(own_postgresql.new_database(), tmp_path)
    writer = written(place, attempted(1))
    own_postgresql.stop()
    writer.take([attempted(number) for number in range(2, 7)])
    for _ in range(2):
        assert not writer.flush()
        assert (writer.waiting, writer.missing) == (3, 2)
    assert "no such file or directory" in writer.why.lower()
    own_postgresql.start()
    assert writer.flush()
    assert (writer.waiting, writer.missing, writer.written, writer.why) == (0, 0, 4, "")
    assert attempts(place) == [1, 2, 3, 4]
    gap = entries(place)[-1]
    assert isinstance(gap, Gap)
    assert gap.missing == 2
    assert judged(place).findings == ()
    assert "receipts are written again: 3 were kept, 2 are missing" in caplog.text
    assert PASSWORD not in caplog.text


def test_what_a_server_has_committed_is_there_after_it_crashed(own_postgresql: Server, tmp_path: Path) -> None:
    place = database_place(own_postgresql.new_database(), tmp_path)
    run(own_postgresql.url(), "ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()")
    writer = written(place, attempted(1))
    own_postgresql.crash()
    own_postgresql.start()
    writer.take([attempted(2)])
    assert writer.flush()
    assert attempts(place) == [1, 2]


def test_a_lenient_server_commits_to_disk_all_the_same(place: LedgerPlace, url: str) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    run(url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    with closing(Connection(LedgerUrl(url))) as connection, connection.writing() as ask:
        assert ask("SHOW synchronous_commit") == [("on",)]


def test_a_ledger_that_another_process_holds_is_waited_for_and_then_kept(
    place: LedgerPlace, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_connection, "LOCK_SECONDS", 0.05)
    writer = written(place, attempted(1))
    writer.take([attempted(2)])
    with psycopg.connect(url) as other:
        other.execute("SELECT * FROM llmring.ledger FOR UPDATE")
        assert not writer.flush()
    assert "lock timeout" in writer.why
    assert writer.flush()
    assert attempts(place) == [1, 2]


def test_a_server_that_hangs_is_given_up_and_asked_again(
    relay: Relay, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_connection, "WRITE_SECONDS", 0.1)
    monkeypatch.setattr(postgresql_connection, "SLACK_SECONDS", 0.1)
    monkeypatch.setitem(postgresql_connection._DEFAULTS, "connect_timeout", "2")
    place = database_place(relay.url(url), tmp_path)
    writer = written(place, attempted(1))
    writer.take([attempted(2)])
    relay.is_silent = True
    assert not writer.flush()
    assert "timeout" in writer.why or "does not answer" in writer.why
    relay.is_silent = False
    monkeypatch.setattr(postgresql_connection, "WRITE_SECONDS", 8.0)
    assert writer.flush()
    assert attempts(place) == [1, 2]


# Commits of which no word came.


@pytest.mark.parametrize("fault", [fault for fault in get_args(Fault) if fault != "none"])
def test_a_commit_that_no_word_came_of_is_looked_for_and_written_once(
    relay: Relay, url: str, tmp_path: Path, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    place = database_place(relay.url(url), tmp_path)
    writer = written(place, attempted(1))
    writer.take([attempted(2), attempted(3)])
    relay.faults.append(fault)
    assert writer.flush()
    assert not relay.faults
    assert attempts(place) == [1, 2, 3]
    assert writer.written == 3
    assert judged(place).findings == ()
    assert caplog.text == ""


@pytest.mark.parametrize("fault", [fault for fault in get_args(Fault) if fault != "none"])
def test_a_commit_stays_unsettled_while_the_server_is_away(
    relay: Relay, url: str, tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MOST_KEPT", 3)
    place = database_place(relay.url(url), tmp_path)
    writer = written(place, attempted(1))
    other = writer_at(place)
    other.open()
    writer.take([attempted(number) for number in (2, 3, 4, 5)])
    relay.faults.append(fault)
    relay.is_down = True
    assert not writer.flush()
    # While it is away, more comes, and another process has written meanwhile.
    writer.take([attempted(6)])
    assert not writer.flush()
    assert (writer.waiting, writer.missing) == (3, 2)
    other.take([attempted(7)])
    assert other.flush()
    relay.is_down = False
    assert writer.flush()
    assert sorted(number or 0 for number in attempts(place)) == [1, 2, 3, 4, 7]
    assert sum(entry.missing for entry in entries(place) if isinstance(entry, Gap)) == 2
    assert judged(place).findings == ()


@settings(max_examples=12)
@given(steps=st.lists(st.tuples(st.sampled_from([*get_args(Fault), "away", "cut"]), st.integers(1, 3)), max_size=12))
def test_whatever_a_network_loses_every_attempt_has_one_receipt(
    postgresql: Server, tmp_path: Path, steps: list[tuple[Fault | str, int]]
) -> None:
    directory = tmp_path / str(len(list(tmp_path.iterdir())))
    url, number = postgresql.new_database(), 0
    with open_relay(postgresql) as relay:
        place = database_place(relay.url(url), directory)
        with closing(writer_at(place)) as writer:
            for what, count in steps:
                relay.is_down = what == "away"
                if what == "cut":
                    relay.cut()
                elif what in get_args(Fault):
                    relay.faults.append(what)  # type: ignore[arg-type]  # it is one of them
                writer.take([attempted(number + one) for one in range(count)])
                number += count
                writer.flush()
            relay.is_down = False
            relay.faults.clear()
            assert writer.flush()
            assert writer.written == number
        if number:
            found = database_place(url, directory)
            assert attempts(found) == list(range(number))
            assert judged(found).findings == ()


def test_what_is_unsettled_at_the_end_is_told_as_that(
    relay: Relay, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = written(database_place(relay.url(url), tmp_path), attempted(1))
    writer.take([attempted(2)])
    relay.faults.append("the word of it")
    relay.is_down = True
    assert not writer.flush()
    writer.take([attempted(3)])
    writer.close()
    assert "it is not known whether 1 receipts were written" in caplog.text
    assert "1 receipts are lost" in caplog.text


# Whose the schema is.


def test_processes_that_make_a_ledger_together_make_one(place: LedgerPlace) -> None:
    """Each in a thread: what keeps them apart is in the server."""
    failures: list[Exception] = []

    def make() -> None:
        try:
            open_store(place).close()
        except ReceiptError as error:
            failures.append(error)

    makers = [threading.Thread(target=make) for _ in range(6)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
    assert failures == []
    written(place, attempted(1))
    assert attempts(place) == [1]


OTHERS = {
    "a table": ("CREATE SCHEMA llmring", "CREATE TABLE llmring.notes (a int)"),
    "a type": ("CREATE SCHEMA llmring", "CREATE TYPE llmring.mood AS ENUM ('good')"),
    "another version": ("CREATE SCHEMA llmring", "CREATE TABLE llmring.version (x int)"),
    "another program": (
        "CREATE SCHEMA llmring",
        "CREATE TABLE llmring.version (application text, version int)",
        "INSERT INTO llmring.version VALUES ('notes', 1)",
    ),
}


@pytest.mark.parametrize("statements", OTHERS.values(), ids=OTHERS)
def test_a_schema_of_something_else_is_not_touched(place: LedgerPlace, url: str, statements: tuple[str, ...]) -> None:
    run(url, *statements)
    inside = "SELECT relname FROM pg_class WHERE relnamespace = 'llmring'::regnamespace"
    with psycopg.connect(url) as other:
        before = other.execute(inside).fetchall()
        for must_exist in (True, False):
            with pytest.raises(ReceiptError, match=r"the schema llmring of .* is a database of something else"):
                open_store(place, must_exist=must_exist)
        assert other.execute(inside).fetchall() == before


def test_a_schema_that_was_made_for_us_is_taken(place: LedgerPlace, url: str) -> None:
    run(url, "CREATE SCHEMA llmring")
    written(place, attempted(1))
    assert attempts(place) == [1]


def test_a_later_ledger_is_refused_and_an_earlier_one_is_not_migrated_by_a_look(place: LedgerPlace, url: str) -> None:
    written(place, attempted(1))
    run(url, "UPDATE llmring.version SET version = 99")
    for must_exist in (True, False):
        with pytest.raises(ReceiptError, match="is of version 99, and this llmring knows"):
            open_store(place, must_exist=must_exist)
    run(url, "UPDATE llmring.version SET version = 0")
    with pytest.raises(ReceiptError, match="is of version 0: it is brought to 2 when written to"):
        open_store(place, must_exist=True)


def test_what_is_not_there_is_not_made_by_a_look(place: LedgerPlace, url: str) -> None:
    with pytest.raises(ReceiptError, match="there is no ledger postgresql:///ledger_"):
        open_store(place, must_exist=True)
    with psycopg.connect(url) as other:
        assert other.execute("SELECT to_regnamespace('llmring')").fetchone() == (None,)


def test_whoever_may_only_read_can_audit(place: LedgerPlace, url: str, postgresql: Server) -> None:
    written(place, attempted(1))
    name = url.partition("?")[0].rpartition("/")[2]
    run(url, f"CREATE ROLE reader_{name} LOGIN PASSWORD 'reader'", f"GRANT USAGE ON SCHEMA llmring TO reader_{name}")
    reader = LedgerPlace(
        where=LedgerUrl(f"postgresql://reader_{name}:reader@/{name}?host={postgresql.directory}"), key=None
    )
    with pytest.raises(ReceiptError, match="permission denied"):
        judged(reader)
    run(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA llmring TO reader_{name}")
    assert judged(reader).entries == 1
    with pytest.raises(ReceiptError, match="permission denied"):
        writer_at(reader).checkpoint()


def test_whoever_edits_the_database_is_found_out(place: LedgerPlace, url: str) -> None:
    written(place, *[attempted(number) for number in range(6)])
    altered = "decode(replace(encode(payload, 'escape'), '0.000228', '0.000001'), 'escape')"
    edits = {
        f"UPDATE llmring.entries SET payload = {altered} WHERE sequence = 3": ("altered", 3),
        "UPDATE llmring.entries SET timestamp = '1999' WHERE sequence = 0": ("altered", 0),
        "UPDATE llmring.entries SET sequence = -1 WHERE sequence = 2": ("moved", 2),
        "DELETE FROM llmring.entries WHERE sequence = 4": ("removed", 4),
        "DELETE FROM llmring.entries WHERE sequence = 5": ("cut off", 5),
    }
    for edit, expected in edits.items():
        run(url, "CREATE TABLE kept AS TABLE llmring.entries", edit)
        assert expected in [(one.deed, one.sequence) for one in judged(place).findings], edit
        run(url, "DELETE FROM llmring.entries", "INSERT INTO llmring.entries TABLE kept", "DROP TABLE kept")
    assert judged(place).findings == ()


def test_many_receipts_are_written_and_read_in_parts(place: LedgerPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MOST_TOGETHER", 7)
    monkeypatch.setattr("llmring.receipts.postgresql_store.PAGE", 5)
    written(place, *[attempted(number) for number in range(30)])
    assert attempts(place) == list(range(30))
    assert judged(place).findings == ()


def test_what_is_written_while_it_is_read_is_not_read(place: LedgerPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmring.receipts.postgresql_store.PAGE", 2)
    writer = written(place, *[attempted(number) for number in range(5)])
    with closing(open_store(place, must_exist=True)) as store:
        rows = store.rows(first=1)
        seen = [next(rows).sequence]
        writer.take([attempted(5)])
        assert writer.flush()
        seen += [row.sequence for row in rows]
    assert seen == [1, 2, 3, 4]
    assert attempts(place) == [0, 1, 2, 3, 4, 5]


# Secrets.

SPELLED = "the-password-canary%3A%2F%40%25"
UNUSABLE = {
    "nobody listens": f"postgresql://llmring:{SPELLED}@127.0.0.1:1/ledger",
    "no such host": f"postgresql://llmring:{SPELLED}@there-is-no-host.invalid/ledger",
    "an option of nothing": f"postgresql://llmring:{SPELLED}@127.0.0.1/ledger?nothing=canary",
    "a password as an option": "postgresql://127.0.0.1:1/ledger?password=canary",
    "two signs": "postgresql://llmring:the-canary@canary@127.0.0.1/ledger",
    "a slash": "postgresql://llmring:the/canary@127.0.0.1/ledger",
    "a percent": "postgresql://llmring:the%canary@127.0.0.1/ledger",
    "no port": f"postgresql://llmring:{SPELLED}@127.0.0.1:canary/ledger",
    "no host": "postgresql://llmring:canary/ledger",
    "another database": f"mysql://llmring:{SPELLED}@127.0.0.1/ledger",
    "a path": str(Path(f"postgresql://llmring:{SPELLED}@127.0.0.1/ledger")),
}


@pytest.mark.parametrize("url", UNUSABLE.values(), ids=UNUSABLE)
def test_nothing_that_goes_wrong_shows_a_password(url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    known = read_settings({"LLMRING_RECEIPTS": url, "HOME": str(tmp_path)})
    texts = [repr(known), str(known)]
    try:
        place = ledger_place(None, known)
        assert place is not None
        texts += [repr(place), repr(writer_at(place))]
        writer = writer_at(place)
        writer.take([attempted(1)])
        assert not writer.flush()
        texts.append(writer.why)
        writer.open()
    except (ConfigError, ReceiptError) as error:
        texts += [str(error), repr(error), "".join(traceback.format_exception(error))]
    else:
        raise AssertionError("it cannot be opened")
    assert "canary" not in "\n".join([*texts, caplog.text])


def test_a_wrong_password_is_told_without_it(url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrong = url.replace("%25", "%26")
    assert wrong != url
    with pytest.raises(ReceiptError, match=r"the ledger postgresql:///ledger_\d+: .*password authentication") as raised:
        open_store(database_place(wrong, tmp_path))
    shown = "".join(traceback.format_exception(raised.value)) + caplog.text
    assert "canary" not in shown


def test_a_path_that_was_made_of_a_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the URL cannot be read"):
        ledger_place(Path("postgresql://llmring@localhost/ledger"), Settings(data_directory=tmp_path))


def test_the_key_of_a_database_is_this_users(tmp_path: Path) -> None:
    url = "postgresql://llmring:canary@db.example.org:5433/ledger?sslmode=require"
    place = ledger_place(url, Settings(data_directory=tmp_path))
    assert place == LedgerPlace(where=LedgerUrl(url), key=tmp_path / "signing.key")
    assert place is not None
    assert str(place.where) == "postgresql://db.example.org:5433/ledger"
    without = ledger_place(url, Settings())
    assert without is not None and without.key is None


def test_without_a_home_the_key_must_be_given(url: str) -> None:
    writer = writer_at(LedgerPlace(where=LedgerUrl(url), key=None))
    with pytest.raises(ReceiptError, match="there is no home directory for the key: set LLMRING_SIGNING_KEY"):
        writer.open()


def test_without_the_extra_the_error_says_how_to_have_it() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from llmring.config import LedgerPlace\n"
        "from llmring.ledger_url import LedgerUrl\n"
        "from llmring.receipts.opening import open_store\n"
        "open_store(LedgerPlace(where=LedgerUrl('postgresql://a:canary@b/c'), key=None))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    last = "llmring.errors.ReceiptError: the ledger postgresql://b/c needs psycopg: pip install 'llmring[postgres]'"
    assert done.stderr.splitlines()[-1] == last


def test_receipts_of_one_answer_are_never_two(place: LedgerPlace) -> None:
    written(place, attempted(1), attempted(2))
    names = [entry.receipt_id for entry in entries(place) if isinstance(entry, Receipt)]
    with closing(open_store(place, must_exist=True)) as store:
        assert [row.sequence for name in names if (row := store.find(name)) is not None] == [0, 1]
        assert store.find("rcpt_none") is None
