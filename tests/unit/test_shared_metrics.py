"""Where processes share what they count: what stands in the way of it ends no process, and no scrape."""

import fcntl
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

_SHARES = """
import shutil, sys
from pathlib import Path
from core import metrics
from core.shared_metrics import exposition, share
place = Path(sys.argv[1])

def count():
    metrics.RATE_LIMITED.labels("test").inc()

def told():
    return exposition().decode()
"""
_ONE = 'mock_psp_rate_limited_total{policy="test"} 1.0'
_TWO = 'mock_psp_rate_limited_total{policy="test"} 2.0'


def run(script: str, *arguments: str | Path, limited: Callable[[], None] | None = None) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-c", _SHARES + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_room_is_taken_at_the_beginning_since_a_full_disk_ends_who_writes_into_a_hole(tmp_path: Path) -> None:
    script = """
share(place)
for file in sorted(place.glob("*.db")):
    found = file.stat()
    print(file.name.rsplit("_", 1)[0], found.st_blocks * 512 >= found.st_size > 0)
"""
    kinds = ("counter", "gauge_livemax", "gauge_livesum", "histogram")
    assert run(script, tmp_path) == "".join(f"{kind} True\n" for kind in kinds)


def test_all_that_can_be_counted_has_room(tmp_path: Path) -> None:
    """Also if every route is asked for with every method."""
    script = """
share(place)
before = {file: file.stat().st_size for file in place.glob("*.db")}
from main import app
paths = {route.path for route in app.routes}
assert len(paths) > 60
for path in ("other", *paths):
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"):
        metrics.REQUEST_DURATION.labels(method, path).observe(1)
        for status in ("405", "429", "500", "503"):
            metrics.REQUESTS.labels(method, path, status).inc()
for number in range(100):
    metrics.COMMAND_DURATION.labels(f"command-{number}").observe(1)
print({file: file.stat().st_size for file in place.glob("*.db")} == before)
"""
    assert run(script, tmp_path) == "True\n"


def test_where_there_is_no_room_a_process_counts_for_itself_and_leaves_nothing(tmp_path: Path) -> None:
    script = """
try:
    share(place)
except OSError as error:
    print(type(error).__name__)
count()
print(told())
"""
    small = 4096
    told = run(script, tmp_path, limited=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (small, small)))

    assert told.startswith("OSError\n")
    assert _ONE in told
    assert not list(tmp_path.glob("*.db"))


def test_one_that_was_stopped_while_it_tidied_holds_up_neither_a_start_nor_a_scrape(tmp_path: Path) -> None:
    script = """
share(place)
count()
print("shares", flush=True)
input()
print(told())
"""
    command = [sys.executable, "-c", _SHARES + script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sharing:
        assert sharing.stdout is not None
        assert sharing.stdout.readline() == "shares\n"
        run("share(place)\ncount()", tmp_path)
        with (tmp_path / "tidy.lock").open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            started = run("try:\n    share(place)\nexcept TimeoutError as error:\n    print(error.strerror)", tmp_path)
            told, _ = sharing.communicate("\n")

    assert started == "another process does not let go of tidy.lock\n"
    assert _TWO in told


def test_a_process_tells_its_own_when_the_place_has_been_deleted(tmp_path: Path) -> None:
    told = run("share(place)\ncount()\nshutil.rmtree(place)\ncount()\nprint(told())", tmp_path / "metrics")

    assert _TWO in told


def test_what_a_crash_of_the_machine_has_left_stops_no_start(tmp_path: Path) -> None:
    (tmp_path / "crashed.alive").touch()
    for name in ("counter_crashed.db", "histogram_ended.db"):
        (tmp_path / name).write_bytes(b"\xff\x00\x00\x00" + bytes(60))
    (tmp_path / "counter_ended.db").touch()

    assert _ONE in run("share(place)\ncount()\nprint(told())", tmp_path)
    assert not list(tmp_path.glob("*crashed*"))


def test_what_ended_processes_have_counted_stays_while_one_lives(tmp_path: Path) -> None:
    script = """
import subprocess
share(place)
for _ in range(2):
    subprocess.run([sys.executable, "-c", sys.argv[2], str(place)], check=True)
    print(told())
"""
    told = run(script, tmp_path, _SHARES + "share(place)\ncount()")

    assert _ONE in told
    assert _TWO in told
    assert {file.name for file in tmp_path.glob("counter_*") if "ended" in file.name} == {"counter_ended.db"}
    values = {value for _, value, _, _ in MmapedDict.read_all_values_from_file(str(tmp_path / "counter_ended.db"))}
    assert values == {2.0}


def test_processes_that_end_and_are_never_asked_leave_no_more_than_one_of_them(tmp_path: Path) -> None:
    script = """
import subprocess
share(place)
for _ in range(3):
    subprocess.run([sys.executable, "-c", sys.argv[2], str(place)], check=True)
    print(sorted(file.suffix for file in place.iterdir()))
"""
    told = run(script, tmp_path, _SHARES + "share(place)\ncount()").splitlines()

    assert told[1] == told[2]


def test_on_a_disk_that_has_filled_up_since_a_scrape_tells_all_and_makes_nothing_half(tmp_path: Path) -> None:
    script = """
import resource, subprocess
share(place)
count()
subprocess.run([sys.executable, "-c", sys.argv[2], str(place)], check=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for _ in range(2):
    print(told())
print(sorted(file.name for file in place.iterdir() if "ended" in file.name))
"""
    told = run(script, tmp_path, _SHARES + "share(place)\ncount()")

    assert told.count(_TWO) == 2
    assert told.endswith("[]\n")


def test_a_file_that_is_torn_while_others_count_is_no_error(tmp_path: Path) -> None:
    script = """
share(place)
count()
(place / "counter_ended.db").touch()
print(told())
"""
    assert _ONE in run(script, tmp_path)
