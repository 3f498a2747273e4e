"""The promises of the embedded MongoDB, each against real processes that are really killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from core import embedded_mongo, mongo_files
from core.embedded_mongo import EmbeddedMongo
from core.mongo_files import EmbeddedMongoError
from tests.scale import scaled

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")

WAIT_S = 30.0
REPOSITORY = Path(__file__).parents[2]

# A user that does what stdin says, and on Ctrl-C writes once more before it leaves, as a server that drains would.
USER = """
import signal
import sys
from pathlib import Path
from pymongo import MongoClient
from core import embedded_mongo
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
mongo = embedded_mongo.start(Path(sys.argv[1]), grace_s=float(sys.argv[2]))
client = MongoClient(mongo.uri)
try:
    print(mongo.uri, flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    client.psp.seen.insert_one({"by": "a user that was interrupted"})
client.close()
mongo.close()
"""


class User:
    """A process that uses the embedded MongoDB until told to leave, or killed."""

    def __init__(self, data_dir: Path, *, grace_s: float = 0.2) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir), str(grace_s)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that a Ctrl-C can be sent to its process group alone
        )

    def uri(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        self.process.communicate("")
        assert self.process.returncode == 0

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def eventually(condition: Callable[[], Any]) -> Any:
    """Return the first true value of `condition`."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    pytest.fail("never became true")


def command_lines() -> Iterator[tuple[int, list[str]]]:
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                arguments = (directory / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
            except OSError:  # it ended meanwhile
                continue
            yield int(directory.name), arguments


def mongods(data_dir: Path) -> list[int]:
    data = str(data_dir / "mongodb")
    return [pid for pid, arguments in command_lines() if "--dbpath" in arguments and data in arguments]


def keepers(data_dir: Path) -> list[int]:
    lock = json.dumps(str(data_dir / "mongodb" / "keeper" / "keeper.lock"))
    return [pid for pid, arguments in command_lines() if lock in arguments[-1]]


def kill_all(data_dir: Path) -> None:
    for pid in (*keepers(data_dir), *mongods(data_dir)):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not keepers(data_dir) and not mongods(data_dir))


def is_deleted(directory: Path) -> bool:
    """Delete it, if mongod makes no new file meanwhile."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def documents(uri: str) -> int:
    with MongoClient[dict[str, Any]](uri) as client:
        return client.psp.seen.count_documents({})


def write(uri: str) -> None:
    with MongoClient[dict[str, Any]](uri, w="majority") as client:
        client.psp.seen.insert_one({"by": "a test"})


def is_primary(mongo: EmbeddedMongo) -> bool:
    try:
        with MongoClient[dict[str, Any]](mongo.uri, serverSelectionTimeoutMS=500) as client:
            return bool(client.admin.command("hello")["isWritablePrimary"])
    except PyMongoError:
        return False


def fake_mongod(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program named mongod first on the PATH."""
    directory.mkdir()
    program = directory / "mongod"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[Path]:
    """A small disk of its own; skips the test for whom the system lets mount none."""
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a disk")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def real_mongod() -> Path:
    return mongo_files.find_mongod()


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    path = tmp_path / "data"
    yield path
    kill_all(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., EmbeddedMongo]]:
    """`start` on the data directory with a short grace; what it started is closed."""
    monkeypatch.setattr(embedded_mongo, "GIVEN_UP_PAUSE_S", 0.2)
    started: list[EmbeddedMongo] = []

    def start(**options: Any) -> EmbeddedMongo:
        started.append(embedded_mongo.start(data_dir, **({"grace_s": 0.2} | options)))
        return started[-1]

    yield start
    for mongo in started:
        mongo.close()


Start = Callable[..., EmbeddedMongo]


class TestAStart:
    async def test_on_an_empty_directory_gives_a_primary_with_transactions_and_change_streams(
        self, start: Start
    ) -> None:
        mongo = await asyncio.to_thread(start)
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongo.uri)
        async with client.psp.seen.watch() as changes:
            async with await client.start_session() as session, session.start_transaction():
                await client.psp.seen.insert_one({"n": 1}, session=session)
            assert (await changes.next())["fullDocument"]["n"] == 1
        members = (await client.admin.command("replSetGetStatus"))["members"]
        assert [(member["name"], member["stateStr"]) for member in members] == [(f"127.0.0.1:{mongo.port}", "PRIMARY")]
        client.close()

    def test_keeps_its_files_in_the_data_directory_and_listens_on_loopback_only(
        self, start: Start, data_dir: Path
    ) -> None:
        mongo = start()
        with MongoClient[dict[str, Any]](mongo.uri) as client:
            options = client.admin.command("getCmdLineOpts")["parsed"]
        assert options["net"]["bindIp"] == "127.0.0.1"
        assert options["net"]["compression"]["compressors"] == "disabled"
        assert (data_dir / "mongodb" / "WiredTiger").exists()
        assert not (data_dir / "mongodb" / "diagnostic.data").exists()
        assert (data_dir / "mongodb.log").stat().st_size > 0

    def test_puts_a_long_log_aside(self, start: Start, data_dir: Path) -> None:
        data_dir.mkdir()
        with (data_dir / "mongodb.log").open("wb") as log:
            log.truncate(17 * 1024 * 1024)
        start()
        assert (data_dir / "mongodb.log.1").stat().st_size == 17 * 1024 * 1024
        assert (data_dir / "mongodb.log").stat().st_size < 1024 * 1024

    def test_passes_extra_arguments_to_mongod(self, start: Start) -> None:
        mongo = start(extra_args=["--setParameter", "enableTestCommands=1"])
        with MongoClient[dict[str, Any]](mongo.uri) as client:
            answer = client.admin.command("getParameter", enableTestCommands=1)
        assert answer["enableTestCommands"]

    def test_prefers_a_mongod_on_the_path(self, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        marker = tmp_path / "was-run"
        script = f'#!/bin/sh\ntouch "{marker}"\nexec "{real_mongod()}" "$@"\n'
        fake_mongod(tmp_path / "bin", script, monkeypatch)
        assert documents(start().uri) == 0
        assert marker.exists()


class TestSharing:
    def test_a_second_process_finds_the_running_mongod(self, start: Start, data_dir: Path) -> None:
        mongo = start()
        user = User(data_dir)
        assert user.uri() == mongo.uri
        assert len(mongods(data_dir)) == 1
        user.leave()

    @pytest.mark.scaled
    def test_processes_that_start_at_once_share_one_mongod(self, data_dir: Path) -> None:
        users = [User(data_dir) for _ in range(scaled(4, 10))]
        uris = {user.uri() for user in users}
        assert len(uris) == 1
        assert len(mongods(data_dir)) == len(keepers(data_dir)) == 1
        write(uris.pop())
        for user in users:
            user.kill()

    def test_ctrl_c_reaches_mongod_only_after_its_users_have_left(self, data_dir: Path) -> None:
        user = User(data_dir, grace_s=WAIT_S)
        uri = user.uri()
        (pid,) = mongods(data_dir)
        user.interrupt()
        assert mongods(data_dir) == [pid]
        assert documents(uri) == 1


@pytest.mark.long
class TestTheEnd:
    def test_comes_gracefully_with_the_last_to_close(self, start: Start, data_dir: Path) -> None:
        first, second = start(), start()
        write(first.uri)
        first.close()
        first.close()
        time.sleep(0.6)  # three times the grace
        assert documents(second.uri) == 1
        second.close()
        eventually(lambda: not mongods(data_dir) and not keepers(data_dir))
        assert (data_dir / "mongodb" / "mongod.lock").read_text() == ""  # mongod empties it when it stops cleanly

    def test_comes_with_the_last_user_killed(self, data_dir: Path) -> None:
        user = User(data_dir)
        user.uri()
        user.kill()
        eventually(lambda: not mongods(data_dir) and not keepers(data_dir))

    def test_is_put_off_by_a_user_who_comes_within_the_grace(self, start: Start, data_dir: Path) -> None:
        user = User(data_dir, grace_s=WAIT_S)
        user.uri()
        (pid,) = mongods(data_dir)
        user.kill()
        start()
        assert mongods(data_dir) == [pid]

    def test_is_waited_for_by_a_user_who_comes_while_mongod_stops(self, start: Start, data_dir: Path) -> None:
        mongo = start(grace_s=0)
        write(mongo.uri)
        (pid,) = mongods(data_dir)
        mongo.close()
        eventually(lambda: '"port": null' in (data_dir / "mongodb" / "keeper" / "status.json").read_text())
        assert mongods(data_dir) == [pid]  # it takes a second to stop
        assert documents(start().uri) == 1

    def test_comes_for_a_deleted_directory_while_a_new_one_starts(self, start: Start, data_dir: Path) -> None:
        mongo = start(grace_s=WAIT_S)
        write(mongo.uri)
        (pid,) = mongods(data_dir)
        mongo.close()
        eventually(lambda: is_deleted(data_dir))
        assert documents(start().uri) == 0
        eventually(lambda: pid not in mongods(data_dir))


@pytest.mark.long
class TestTheNextStart:
    def test_finds_data_and_port(self, start: Start, data_dir: Path) -> None:
        first = start()
        write(first.uri)
        first.close()
        eventually(lambda: not keepers(data_dir))
        second = start()
        assert second.uri == first.uri
        assert documents(second.uri) == 1

    def test_takes_a_new_port_when_the_old_one_is_taken(self, start: Start, data_dir: Path) -> None:
        first = start()
        write(first.uri)
        first.close()
        eventually(lambda: not keepers(data_dir))
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", first.port))
            other.listen()  # and never says a word, which is what mongod takes worst
            second = start()
        assert second.port != first.port
        assert documents(second.uri) == 1
        write(second.uri)

    def test_clears_what_a_dead_run_left(self, start: Start, data_dir: Path) -> None:
        user = User(data_dir)
        write(user.uri())
        user.kill()
        kill_all(data_dir)
        (data_dir / "mongodb" / "mongod.lock").write_text(f"{os.getpid()}\n")  # a recycled pid
        for name in ("port", "status.json", "users.lock", "start.lock", "keeper.lock"):
            (data_dir / "mongodb" / "keeper" / name).write_text(f'{os.getpid()} {{"port": garbage')
        assert documents(start().uri) == 1
        assert len(mongods(data_dir)) == 1

    def test_replaces_a_mongod_whose_keeper_and_users_were_killed(self, start: Start, data_dir: Path) -> None:
        user = User(data_dir)
        uri = user.uri()
        write(uri)
        (orphan,) = mongods(data_dir)
        user.kill()
        os.kill(keepers(data_dir)[0], signal.SIGKILL)
        assert start().uri == uri
        eventually(lambda: mongods(data_dir) and orphan not in mongods(data_dir))
        assert documents(uri) == 1
        assert len(mongods(data_dir)) == 1


@pytest.mark.long
class TestAKill9:
    def test_of_mongod_loses_no_acknowledged_write(self, start: Start, data_dir: Path) -> None:
        mongo = start()
        acknowledged: list[int] = []
        with MongoClient[dict[str, Any]](mongo.uri, w="majority") as client:

            def insert() -> None:
                for n in range(400):
                    client.psp.seen.insert_one({"_id": n})
                    acknowledged.append(n)

            writer = threading.Thread(target=insert)
            writer.start()
            eventually(lambda: len(acknowledged) > 100)
            (pid,) = mongods(data_dir)
            os.kill(pid, signal.SIGKILL)
            writer.join()
            assert acknowledged == list(range(400))  # the driver waited for mongod to come back
            assert [seen["_id"] for seen in client.psp.seen.find(sort=[("_id", 1)])] == acknowledged

    def test_of_the_keeper_is_noticed_by_the_users(self, start: Start, data_dir: Path) -> None:
        mongo = start()
        write(mongo.uri)
        (keeper,) = keepers(data_dir)
        os.kill(keeper, signal.SIGKILL)
        eventually(lambda: set(keepers(data_dir)) - {keeper} and is_primary(mongo))
        assert documents(mongo.uri) == 1
        mongo.close()
        eventually(lambda: not mongods(data_dir) and not keepers(data_dir))

    def test_of_both_at_once_is_survived(self, start: Start, data_dir: Path) -> None:
        mongo = start()
        write(mongo.uri)
        kill_all(data_dir)
        eventually(lambda: is_primary(mongo))
        assert documents(mongo.uri) == 1

    def test_of_a_mongod_that_cannot_come_back_is_given_up_with_the_reason(
        self,
        start: Start,
        data_dir: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        broken = tmp_path / "broken"
        refusal = f'test -e "{broken}" && echo "the dog ate it" && exit 14'
        fake_mongod(tmp_path / "bin", f'#!/bin/sh\n{refusal}\nexec "{real_mongod()}" "$@"\n', monkeypatch)
        write(start().uri)
        broken.touch()
        os.kill(mongods(data_dir)[0], signal.SIGKILL)
        eventually(lambda: "the dog ate it" in caplog.text)
        assert not keepers(data_dir)
        with pytest.raises(EmbeddedMongoError, match="exit code 14, the dog ate it"):
            start()
        broken.unlink()
        assert documents(start().uri) == 1

    def test_of_a_mongod_that_was_given_up_is_mended_by_its_users_once_it_can_run_again(
        self, start: Start, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded_mongo, "GIVEN_UP_PAUSE_S", 0.2)
        broken = tmp_path / "broken"
        refusal = f'test -e "{broken}" && echo "the dog ate it" && exit 14'
        fake_mongod(tmp_path / "bin", f'#!/bin/sh\n{refusal}\nexec "{real_mongod()}" "$@"\n', monkeypatch)
        mongo = start()
        write(mongo.uri)
        broken.touch()
        os.kill(mongods(data_dir)[0], signal.SIGKILL)
        eventually(lambda: not keepers(data_dir))
        broken.unlink()
        eventually(lambda: is_primary(mongo))
        assert documents(mongo.uri) == 1


@pytest.mark.long
def test_a_disk_that_filled_up_is_no_reason_to_restart_anything_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_mongo, "GIVEN_UP_PAUSE_S", 1)
    with mounted(tmp_path / "disk", "size=400m") as disk:
        mongo = embedded_mongo.start(disk / "data")
        try:
            write(mongo.uri)
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(1024 * 1024))
            with MongoClient[dict[str, Any]](mongo.uri, timeoutMS=5000) as client, pytest.raises(PyMongoError):
                while True:
                    client.psp.filling.insert_one({"much": os.urandom(1024 * 1024)})
            (disk / "filler").unlink()
            eventually(lambda: is_primary(mongo))
            assert documents(mongo.uri) == 1
            write(mongo.uri)
        finally:
            mongo.close()
            kill_all(disk / "data")


class TestAStartThatFails:
    """Says in one sentence what is wrong and what to do, and leaves no process behind."""

    @pytest.fixture
    def complaint(self, start: Start, data_dir: Path) -> Callable[..., str]:
        def complaint(**options: Any) -> str:
            with pytest.raises(EmbeddedMongoError) as raised:
                start(**options)
            sentence = str(raised.value)
            assert sentence.endswith((".", "MONGODB_URI."))
            assert "\n" not in sentence
            eventually(lambda: not keepers(data_dir) and not mongods(data_dir))
            return sentence

        return complaint

    def test_without_a_mongod(
        self, complaint: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mongo_files, "PACKAGES", ("no-such-package",))  # as on a platform without a wheel
        monkeypatch.setenv("PATH", str(tmp_path))
        assert complaint() == ("There is no mongod for this platform: set MONGODB_URI, or put a mongod on the PATH.")

    @pytest.mark.parametrize(
        ("script", "expected"),
        [
            (
                "#!/bin/sh\necho 'mongod: error while loading shared libraries: libcurl.so.4: cannot open shared "
                "object file: No such file or directory' >&2\nexit 127\n",
                "mongod needs libcurl.so.4, a shared library that is missing: "
                "`apt-get install libcurl4` brings it on Debian and Ubuntu, or set MONGODB_URI.",
            ),
            (
                '#!/bin/sh\necho "mongod: libc.so.6: version \\`GLIBC_2.34\' not found (required by it)"\nexit 1\n',
                "mongod cannot run on this machine (it needs GLIBC_2.34, newer than this system's): "
                "set MONGODB_URI, or put another mongod on the PATH.",
            ),
            (
                "#!/bin/sh\nkill -ILL $$\n",
                "mongod cannot run on this machine (it needs a processor with AVX): "
                "set MONGODB_URI, or put another mongod on the PATH.",
            ),
            (
                "\x7fELF for another processor",
                "mongod cannot run on this machine (Exec format error): "
                "set MONGODB_URI, or put another mongod on the PATH.",
            ),
        ],
        ids=["a library", "the C library", "AVX", "the format"],
    )
    def test_with_a_mongod_that_this_machine_cannot_run(
        self,
        complaint: Callable[..., str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        script: str,
        expected: str,
    ) -> None:
        fake_mongod(tmp_path / "bin", script, monkeypatch)
        assert complaint() == expected

    def test_with_arguments_that_mongod_refuses(self, complaint: Callable[..., str], data_dir: Path) -> None:
        sentence = complaint(extra_args=["--setParameter", "nonsense=1"])
        assert "Unknown --setParameter 'nonsense'" in sentence
        assert str(data_dir / "mongodb.log") in sentence

    def test_with_data_that_mongod_cannot_read(self, complaint: Callable[..., str], data_dir: Path) -> None:
        (data_dir / "mongodb").mkdir(parents=True)
        for name in ("WiredTiger", "WiredTiger.turtle"):
            (data_dir / "mongodb" / name).write_text("garbage")
        sentence = complaint()
        assert "database corruption detected" in sentence
        assert str(data_dir / "mongodb.log") in sentence

    def test_in_a_directory_that_another_mongod_uses(self, data_dir: Path, tmp_path: Path, start: Start) -> None:
        data = data_dir / "mongodb"
        data.mkdir(parents=True)
        other = subprocess.Popen(
            [str(real_mongod()), "--dbpath", str(data), "--port", "0", "--logpath", str(tmp_path / "log")]
        )
        try:
            eventually(lambda: (data / "mongod.lock").exists() and (data / "mongod.lock").read_text())
            with pytest.raises(EmbeddedMongoError, match=rf"Another mongod \(process {other.pid}\) uses .*: stop"):
                start()
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()

    def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        data_dir = tmp_path / "file" / "data"
        with pytest.raises(EmbeddedMongoError, match=f"{data_dir} can't be written .*Not a directory.*DATA_DIR"):
            embedded_mongo.start(data_dir)

    def test_on_a_read_only_disk(self, tmp_path: Path) -> None:
        complaint = r"can't be written .*Read-only file system.*DATA_DIR"
        with mounted(tmp_path / "disk", "ro") as disk, pytest.raises(EmbeddedMongoError, match=complaint):
            embedded_mongo.start(disk / "data")

    @pytest.mark.parametrize("size", ["16k", "20m"], ids=["full", "almost full"])
    def test_on_a_full_disk(self, tmp_path: Path, size: str) -> None:
        with mounted(tmp_path / "disk", f"size={size}") as disk:
            if size == "16k":
                (disk / "other").write_bytes(bytes(12 * 1024))
            with pytest.raises(EmbeddedMongoError, match=r"disk .* (full|only .* MB free).*DATA_DIR"):
                embedded_mongo.start(disk / "data")
