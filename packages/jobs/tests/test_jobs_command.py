"""The command `jobs` of a service, in processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)

_FILES = {
    "app.py": """
        from litestar import Litestar
        from starkeel_jobs import JobContext, JobsPlugin, job
        from starkeel_server import build

        from .__main__ import SERVICE
        from .settings import Settings


        @job(attempts=1)
        async def send(context: JobContext, *, order_id: int, note: str = "") -> None:
            if not context.resource(Settings).works:
                raise RuntimeError(f"refused {note}")
            print("sent", order_id, flush=True)


        def create_app(settings: Settings) -> Litestar:
            jobs = JobsPlugin(settings.jobs, jobs=[send], resources=[settings])
            return build(SERVICE, settings, handlers=[], plugins=[jobs])
    """,
    "settings.py": """
        from typing import Annotated

        from starkeel_config import ServiceSettings, Variable
        from starkeel_db import DatabaseSettings
        from starkeel_jobs import JobSettings
        from starkeel_server import ServerSettings


        class Settings(ServiceSettings, frozen=True, kw_only=True):
            database: DatabaseSettings
            jobs: JobSettings
            server: ServerSettings
            works: Annotated[bool, Variable("WORKS")] = True
    """,
    "__main__.py": """
        from starkeel_server import Service, run

        SERVICE = Service(name="shop", settings="shop.settings:Settings", app="shop.app:create_app")

        if __name__ == "__main__":
            run(SERVICE)
    """,
}


class Shop:
    """A service in a folder of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        package = folder / "shop"
        (package / "migrations").mkdir(parents=True)
        for path in (package, package / "migrations"):
            (path / "__init__.py").touch()
        for name, text in _FILES.items():
            lines = text.strip("\n").splitlines()
            (package / name).write_text("".join(f"{line[8:]}\n" for line in lines))
        environ = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        self.environ = {
            **environ,
            "ENVIRONMENT": "development",
            "DATABASE_URL": url,
            "PORT": "0",
            "METRICS_PORT": "0",
            "DRAIN_DELAY_SECONDS": "0",
        }
        assert self.run("revision", "add jobs").returncode == 0
        assert self.run("migrate").returncode == 0

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the service."""
        return subprocess.run(
            [sys.executable, "-m", "shop", *words],
            cwd=self.folder,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def work(self, until: str, **environ: str) -> None:
        """Run `worker` until a line of its output contains a text, then stop it."""
        with subprocess.Popen(
            [sys.executable, "-m", "shop", "worker"],
            cwd=self.folder,
            env=self.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                assert any(until in line for line in process.stdout), f"the worker ended without {until!r}"
                process.terminate()
                process.stdout.read()
                assert process.wait(timeout=60) == 0
            finally:
                process.kill()

    def states(self) -> list[str]:
        """Return the states of all jobs, the newest first."""
        listed = self.run("jobs", "list", "--json")
        assert listed.returncode == 0, listed.stderr
        return [json.loads(line)["state"] for line in listed.stdout.splitlines()]


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Shop:
    return Shop(tmp_path / "project", database_url)


@pytest.fixture(scope="module")
def local_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    return Shop(folder / "project", f"sqlite:///{folder / 'shop.db'}")


def test_a_failed_job_is_listed_retried_and_succeeds(shop: Shop) -> None:
    enqueued = shop.run("jobs", "run", "send", "--arguments", '{"order_id": 7, "note": "hunter2"}')
    assert enqueued.returncode == 0, enqueued.stderr
    job_id = enqueued.stdout.strip()
    shop.work("job failed", WORKS="false")

    listed = shop.run("jobs", "list", "--state", "failed")
    assert listed.stdout.splitlines()[0].split() == ["id", "job", "state", "attempts", "created", "error"]
    assert listed.stdout.splitlines()[1].split()[:4] == [job_id, "send", "failed", "1"]
    assert "hunter2" not in listed.stdout
    assert shop.run("jobs", "retry", job_id).returncode == 0
    assert shop.states() == ["queued"]
    shop.work("sent 7")

    assert shop.states() == ["succeeded"]


def test_failed_jobs_of_a_name_are_changed_together(shop: Shop) -> None:
    for number in range(3):
        shop.run("jobs", "run", "send", "--arguments", json.dumps({"order_id": number}))
    shop.work("job failed", WORKS="false")
    while set(shop.states()) != {"failed"}:
        shop.work("job failed", WORKS="false")

    retried = shop.run("jobs", "retry", "--failed", "send")
    assert (retried.returncode, retried.stdout) == (0, "retry: 3\n")
    assert shop.states() == ["queued"] * 3
    discarded = shop.run("jobs", "discard", "1", "2", "3")
    assert discarded.returncode == 0, discarded.stderr
    assert shop.states() == []


def test_old_rows_are_deleted_by_command(local_shop: Shop) -> None:
    assert local_shop.run("jobs", "run", "delete_old_rows").returncode == 0

    local_shop.work("old rows deleted")


@pytest.mark.parametrize("cron", ["17 3 * *", "61 3 * * *"])
def test_an_invalid_retention_schedule_is_refused(local_shop: Shop, cron: str) -> None:
    done = local_shop.run("worker", RETENTION_SCHEDULE=cron)

    assert done.returncode == 78
    assert "RETENTION_SCHEDULE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["jobs", "retry", "99"], 1, "there is no failed job with the id 99"),
        (["jobs", "discard", "99"], 1, "there is no job that is not being executed with the id 99"),
        (["jobs", "retry"], 2, "pass ids of jobs, or --failed"),
        (["jobs", "run", "sand"], 2, "'sand' is none of the jobs: delete_old_rows, send"),
        (["jobs", "run", "send"], 2, "missing required field `order_id`"),
        (["jobs", "run", "send", "--arguments", "{"], 2, "--arguments: "),
        (["jobs", "run", "send", "--arguments", '{"order_id": "x"}'], 2, "`$.order_id`"),
        (["jobs", "list", "--state", "lost"], 2, "invalid choice: 'lost'"),
        (["jobs"], 2, "ACTION"),
        (["job"], 2, "shop has no command 'job'; there are serve, worker, config"),
    ],
)
def test_mistakes_are_named(local_shop: Shop, words: list[str], code: int, problem: str) -> None:
    done = local_shop.run(*words)

    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_the_commands_of_plugins(local_shop: Shop) -> None:
    overview, detail = local_shop.run("--help"), local_shop.run("jobs", "--help")

    assert "Commands of plugins: jobs." in " ".join(overview.stdout.split())
    assert all(action in detail.stdout for action in ("list", "retry", "discard", "run"))


def test_an_unreachable_database_is_reported(tmp_path: Path, postgres_url: str) -> None:
    shop = Shop(tmp_path / "project", postgres_url)

    done = shop.run(
        "jobs", "list", DATABASE_URL="postgresql://a:hunter2@127.0.0.1:1/a", DB_STARTUP_TIMEOUT_SECONDS="1"
    )

    assert done.returncode == 69
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_with_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "project", f"sqlite:///{tmp_path / 'shop.db'}")
    app = shop.folder / "shop/app.py"
    app.write_text(
        app.read_text().replace("    return build(", "    jobs.command_name = 'config'\n    return build(")
    )

    done = shop.run("jobs", "list")

    assert done.returncode == 1
    assert "the command 'config' of JobsPlugin has the name of another one" in done.stdout
