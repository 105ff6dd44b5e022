"""`drill` ends everything it has started; a command that does not start is one clear line."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import seatrial
from drilled import SERVICE, Database, config, database
from seatrial._drill.processes import MARK
from starkeel_testing import wait_until


@pytest.fixture(scope="module")
def running_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with database(tmp_path_factory.mktemp("database")) as found:
        yield found


def _drilled_processes(folder: Path) -> list[int]:
    """Return the processes that were started by a drill with this working directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                MARK.encode() in (entry / "environ").read_bytes()
                and Path(os.readlink(entry / "cwd")) == folder
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(("number", "defect"), [(signal.SIGINT, ""), (signal.SIGTERM, "deaf")])
def test_interrupted_drill_leaves_no_process(
    number: signal.Signals, defect: str, running_database: Database, tmp_path: Path
) -> None:
    (tmp_path / "seatrial.toml").write_text(config(running_database, defect))
    command = [sys.executable, "-m", "seatrial", "drill", "--", sys.executable, str(SERVICE)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        # The main process and its worker.
        wait_until(lambda: len(_drilled_processes(tmp_path)) >= 2, timeout_s=20)
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    assert error == b"seatrial: interrupted\n"
    assert not _drilled_processes(tmp_path)


def test_process_that_left_its_group_is_ended(running_database: Database, tmp_path: Path) -> None:
    (tmp_path / "seatrial.toml").write_text(config(running_database))
    daemon = "setsid sleep 300 & setsid -f sleep 300;"
    done = seatrial(
        *("drill", "--only", "lifecycle-start-time", "--"),
        *("sh", "-c", f"{daemon} exec {sys.executable} {SERVICE}"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not _drilled_processes(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["drill"], "the following arguments are required: COMMAND"),
        (["drill", "--", "absent-program"], "COMMAND: cannot execute 'absent-program'"),
        (
            ["drill", "--", "sh", "-c", "echo wrong setting >&2; exit 3"],
            "exited with code 3 before it was ready",
        ),
    ],
)
def test_command_that_does_not_start_could_not_run(arguments: list[str], text: str, tmp_path: Path) -> None:
    done = seatrial(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert text in done.stderr
    assert not _drilled_processes(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("start_s = 0", "drill.start_s: 0 is not between 0.1 and 600 seconds"),
        ("boot_without_database = 'hopes'", "drill.boot_without_database: 'hopes' is not `waits` or `exits`"),
        ("database_stop = ['a']", "drill.database_stop and drill.database_start need one another"),
        ("env = ['A=B']", "drill.env: a table of strings is expected"),
        ("env = { A = 1 }", "drill.env: a table of strings is expected"),
        ("slow_path = 'slow'", "drill.slow_path: 'slow' is not a path"),
    ],
)
def test_wrong_configuration_names_the_key(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "seatrial.toml").write_text(f"[drill]\n{text}\n")
    done = seatrial("drill", "--", "true", cwd=tmp_path)
    assert done.returncode == 2
    assert f"seatrial.toml: {problem}" in done.stderr
    assert done.stderr.count("\n") == 1
