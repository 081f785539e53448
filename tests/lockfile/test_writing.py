"""A lockfile on disk is the old one or the new one, whatever happens, and two writers lose nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmring.config import BUNDLED_LOCKFILE
from llmring.errors import EditFailed, LockfileInvalid, LockfileMissing
from llmring.lockfile import read_lockfile
from llmring.lockfile.writing import create, edit

TEXT = '[[profiles.default.bindings]]\nalias = "x"\nmodels = "a:b"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "llmring.lock"
    path.write_text(TEXT)
    return path


def others(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir() if entry != path]


def test_an_edit_replaces_the_file_and_leaves_nothing_beside_it(path: Path) -> None:
    path.chmod(0o640)
    edited = edit(path, lambda text: text.replace("a:b", "c:d"))
    assert (edited.before, edited.after) == (TEXT, TEXT.replace("a:b", "c:d"))
    assert path.read_text() == edited.after
    assert path.stat().st_mode & 0o777 == 0o640
    assert others(path) == []


def test_an_edit_that_is_only_planned_or_changes_nothing_writes_nothing(path: Path) -> None:
    before = path.stat()
    assert edit(path, lambda text: text + "# more\n", write=False).after == TEXT + "# more\n"
    edit(path, lambda text: text)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_would_not_load_is_never_written(path: Path) -> None:
    with pytest.raises(LockfileInvalid):
        edit(path, lambda _: "alias = ")
    with pytest.raises(LockfileInvalid):
        create(path.with_name("new.lock"), "alias = ")
    assert path.read_text() == TEXT
    assert others(path) == []


def test_a_change_by_somebody_else_in_the_meantime_is_not_overwritten(path: Path) -> None:
    def change(text: str) -> str:
        path.write_text("# theirs\n")
        return text + "# ours\n"

    with pytest.raises(EditFailed, match="was changed by somebody else at the same time"):
        edit(path, change)
    assert path.read_text() == "# theirs\n"
    assert others(path) == []


def test_a_link_stays_a_link(path: Path) -> None:
    link = path.with_name("link.lock")
    link.symlink_to(path)
    edit(link, lambda text: text + "# more\n")
    assert link.is_symlink()
    assert path.read_text() == TEXT + "# more\n"


def test_the_bundled_lockfile_is_not_edited(tmp_path: Path) -> None:
    link = tmp_path / "llmring.lock"
    link.symlink_to(BUNDLED_LOCKFILE)
    for target in (BUNDLED_LOCKFILE, link):
        with pytest.raises(EditFailed, match="make one of your own with `llmring lock init`"):
            edit(target, lambda text: text + "# mine\n")
        with pytest.raises(EditFailed):
            create(target, TEXT, force=True)


def test_a_new_file_does_not_replace_another_unless_it_is_told_to(path: Path) -> None:
    with pytest.raises(FileExistsError, match=r"already exists. Use --force to overwrite"):
        create(path, "# new\n")
    assert path.read_text() == TEXT
    create(path, "# new\n", force=True)
    assert path.read_text() == "# new\n"
    assert others(path) == []


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(LockfileMissing, match="no such file"):
        edit(tmp_path / "no.lock", lambda text: text)
    with pytest.raises(EditFailed, match=r"cannot write .*no such file or directory"):
        create(tmp_path / "nowhere" / "llmring.lock", TEXT)
    (tmp_path / "bad.lock").write_bytes(b"a = 1\nb = '\xff'")
    with pytest.raises(LockfileInvalid, match="line 2: not UTF-8"):
        edit(tmp_path / "bad.lock", lambda text: text)


COUNT = """
import sys
from pathlib import Path
from llmring import lock
path = Path(sys.argv[1])
for number in range(int(sys.argv[3])):
    lock.bind(f"{sys.argv[2]}{number}", "a:b", lockfile=path)
"""


def writer(path: Path, name: str, times: int) -> "subprocess.Popen[bytes]":
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, "-c", COUNT, str(path), name, str(times)], env=environment)


def test_two_writers_lose_nothing(path: Path) -> None:
    writers = [writer(path, name, 10) for name in ("a", "b", "c")]
    assert [each.wait(timeout=60) for each in writers] == [0, 0, 0]
    bound = read_lockfile(path).profiles["default"].bindings
    assert set(bound) == {"x", *(f"{name}{number}" for name in "abc" for number in range(10))}
    assert others(path) == []


def test_a_writer_that_is_killed_leaves_the_old_file_or_the_new_one(path: Path) -> None:
    chance = random.Random(7)
    for round_ in range(8):
        killed = writer(path, f"round{round_}-", 1000)
        time.sleep(0.3 + chance.random() * 0.4)
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=60)
        bound = read_lockfile(path).profiles["default"].bindings
        mine = [alias for alias in bound if alias.startswith(f"round{round_}-")]
        assert mine == [f"round{round_}-{number}" for number in range(len(mine))]
        path.write_text(TEXT)
    # What a killed writer had begun may lie there, hidden and by its name no lockfile.
    assert all(name.startswith(".llmring.lock.") and name.endswith(".new") for name in others(path))
