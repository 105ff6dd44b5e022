"""Code that meets a database which a newer release has migrated, as after a rollback."""

import asyncio
import re
from pathlib import Path

import httpx2
import pytest
from starkeel_testing import wait_until

from .conftest import Package
from .test_db_process import CREATE, Shop

EXPAND = 'op.execute("ALTER TABLE things ADD COLUMN note TEXT")'


@pytest.fixture
def shop(package: Package) -> Shop:
    shop = Shop(package)
    package.add("0001_things", CREATE)
    return shop


def migrated_by_newer(shop: Shop, url: str, *names: str, **contracting: str) -> None:
    """Apply further revisions and remove them from the code, which is then the older release."""
    files: list[Path] = []
    for name in names:
        shop.package.add(name, 'op.execute("SELECT 1")')
        files.append(shop.package.folder / f"{name}.py")
        if name in contracting:
            with files[-1].open("a") as file:
                file.write(f"\ncontracting = {contracting[name]}\n")
    code, output = shop.ended(url, "migrate")
    assert code == 0, output
    for path in files:
        path.unlink()


def address(lines: list[str], message: str) -> str:
    """Return the URL of a port that was opened."""
    (found,) = [match[1] for line in lines if (match := re.search(rf"{message} +addr=(\S+)", line))]
    return f"http://{found}"


def metric(admin_url: str, name: str) -> float:
    text = httpx2.get(f"{admin_url}/metrics", trust_env=False).text
    values = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return max((float(value) for value in values), default=0.0)


@pytest.mark.parametrize("run_migrations", ["true", "false"])
def test_a_newer_schema_is_served_with_a_warning_and_a_metric(
    shop: Shop, database_url: str, run_migrations: str
) -> None:
    migrated_by_newer(shop, database_url, "0002_more", "0003_again")

    with shop.serving(database_url, RUN_MIGRATIONS=run_migrations) as lines:
        url, admin_url = address(lines, "listening"), address(lines, "admin port opened")
        with httpx2.Client(base_url=url, trust_env=False) as client:
            wait_until(lambda: client.get("/health/ready").status_code == 200, timeout_s=30)
            assert client.get("/count").json() == 0
        wait_until(lambda: metric(admin_url, "db_schema_newer") == 1, timeout_s=30)

    newer = [line for line in lines if "database newer than the code" in line]
    assert newer
    assert "0003_again" in newer[0]
    assert "0001_things" in newer[0]


def test_migrate_does_nothing_to_a_newer_schema(shop: Shop, database_url: str) -> None:
    migrated_by_newer(shop, database_url, "0002_more")

    code, output = shop.ended(database_url, "migrate")
    sql_code, sql = shop.ended(database_url, "migrate", "--sql")

    assert code == 0, output
    assert "migration applied" not in output
    assert "database newer than the code" in output
    assert sql_code == 0
    assert "CREATE" not in sql


@pytest.mark.parametrize("verb", [("migrate",), ()])
def test_a_contracting_revision_is_refused_with_the_way_out(
    shop: Shop, database_url: str, verb: tuple[str, ...]
) -> None:
    migrated_by_newer(shop, database_url, "0002_drop", "0003_more", **{"0002_drop": "True"})

    code, output = shop.ended(database_url, *verb)

    assert code == 65, output
    assert "0002_drop" in output
    assert "deploy a release that has it" in output
    assert "Traceback" not in output


def test_a_contracting_revision_names_the_oldest_code_that_works(shop: Shop, database_url: str) -> None:
    shop.package.add("0002_unused", 'op.execute("SELECT 1")')
    migrated_by_newer(shop, database_url, "0003_drop", **{"0003_drop": '"0002_unused"'})

    code, output = shop.ended(database_url, "migrate")
    assert code == 0, output

    (shop.package.folder / "0002_unused.py").unlink()
    code, output = shop.ended(database_url, "migrate")
    assert code == 65, output
    assert "0003_drop" in output
    assert "0002_unused" in output


def test_a_mark_that_names_no_earlier_revision_is_refused_before_anything_runs(
    shop: Shop, database_url: str
) -> None:
    name = shop.package.add("0002_drop", 'op.execute("CREATE TABLE more (id INTEGER)")')
    with (shop.package.folder / f"{name}.py").open("a") as file:
        file.write('\ncontracting = "0009_typo"\n')

    code, output = shop.ended(database_url, "migrate")

    assert code == 65, output
    assert "0009_typo" in output
    assert "migration applied" not in output


def test_code_with_revisions_of_its_own_is_refused(shop: Shop, database_url: str) -> None:
    """A newer release of another branch has migrated the database: this code lacks nothing but its own."""
    migrated_by_newer(shop, database_url, "0002_other")
    own = shop.package.folder / "0002_own.py"
    own.write_text((shop.package.folder / "0001_things.py").read_text().replace("0001_things", "0002_own"))
    own.write_text(own.read_text().replace("down_revision = None", 'down_revision = "0001_things"'))

    code, output = shop.ended(database_url, "migrate")

    assert code == 65, output
    assert "0002_own" in output
    assert "0002_other" in output


def test_sql_that_is_applied_by_hand_keeps_the_marks(shop: Shop, postgres_url: str, package: Package) -> None:
    import asyncpg  # type: ignore[import-untyped]

    assert shop.ended(postgres_url, "migrate")[0] == 0
    name = shop.package.add("0002_drop", 'op.execute("SELECT 1")')
    path = shop.package.folder / f"{name}.py"
    with path.open("a") as file:
        file.write("\ncontracting = True\n")
    code, output = shop.ended(postgres_url, "migrate", "--sql")
    assert code == 0, output
    sql = output[output.index("BEGIN;") :]

    async def apply() -> None:
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(sql[: sql.rindex("COMMIT;") + 7])
        await connection.close()

    asyncio.run(apply())
    assert shop.ended(postgres_url, "migrate")[0] == 0
    path.unlink()

    code, output = shop.ended(postgres_url, "migrate")
    assert code == 65, output
    assert "0002_drop" in output


def test_a_dropped_column_must_be_marked(shop: Shop) -> None:
    name = shop.package.add("0002_drop", 'op.drop_column("things", "gone")', 'op.execute("DROP TABLE old")')
    plugin = shop.package.plugin("sqlite:///unused.db")

    assert [found.partition(",")[0] for found in plugin.blocking_operations()] == [
        "0002_drop: drops gone",
        "0002_drop: drops old",
    ]

    with (shop.package.folder / f"{name}.py").open("a") as file:
        file.write("\ncontracting = True\n")
    assert shop.package.plugin("sqlite:///unused.db").blocking_operations() == []
