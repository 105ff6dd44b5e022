"""Later versions of the template are merged into a service that was made from it."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.registry import read
from tools.service_template.options import Options
from tools.service_template.record import Record, recorded

from ..support.workspace_copy import ISSUERS, commit, copied, create_environment, git, listed, run

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workspace with a new service, committed."""
    root = copied(tmp_path_factory.mktemp("made"))
    create_environment(root)
    calls = ["--calls", ",".join(ISSUERS)] if ISSUERS else []
    done = run(root, "new_service", "warehouse", "--needs", "database,redis", *calls)
    assert done.returncode == 0, done.stderr
    return root


def test_a_new_service_is_registered_and_everything_else_is_generated(made: Path) -> None:
    services = read()
    entry = tomllib.loads((made / "services/warehouse/pyproject.toml").read_text())["tool"]["starkeel"]
    assert entry["port"] == max(service.port for service in services) + 1
    assert entry["admin_port"] == max(service.admin_port for service in services) + 1
    assert (entry["needs"], entry["calls"]) == (["database", "redis", "tokens"], ISSUERS)
    ports = {service.name: (service.port, service.admin_port) for service in read(made)}
    assert {name: ports[name] for name in ports if name != "warehouse"} == {
        service.name: (service.port, service.admin_port) for service in services
    }

    assert {"docs/openapi/warehouse.json", "docs/openapi/released/warehouse.json"} < set(listed(made))
    assert 'name = "warehouse"' in (made / "uv.lock").read_text()
    python = made / ".venv/bin/python"
    generated = subprocess.run(
        [python, "-m", "tools.generate", "--check"], cwd=made, capture_output=True, text=True, check=False
    )
    assert (generated.returncode, generated.stderr) == (0, "")
    drift = run(made, "update_services", "--check")
    assert drift.returncode == 0, drift.stderr
    assert re.search(r"services/warehouse: 0 of \d+ files of the template edited", drift.stdout)


def improve(root: Path, file: str, old: str, new: str) -> None:
    """Change the template."""
    path = root / "templates/service" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def behind(made: Path) -> Iterator[Path]:
    """The workspace with the new service, and a template with a later version of two files."""
    commit(made)
    improve(
        made, "src/depot/etags.py", "Return the entity tag of a version.", "Return a version's entity tag."
    )
    improve(made, "README.md", "Log messages:", "Messages in the log:")
    commit(made)
    yield made
    git(made, "reset", "--quiet", "--hard", "HEAD~1")
    git(made, "clean", "--quiet", "-d", "--force")


def test_a_later_template_is_merged_with_the_changes_of_the_service(behind: Path) -> None:
    folder = behind / "services/warehouse"
    etags = folder / "src/warehouse/etags.py"
    etags.write_text(etags.read_text() + "\n\nOWN = 1\n")
    commit(behind)
    checked = run(behind, "update_services", "--check")
    assert checked.returncode == 1
    assert "the template has later versions of 2 files (README.md, src/warehouse/etags.py)" in checked.stderr
    assert "run `just update-services`" in checked.stderr

    done = run(behind, "update_services")

    assert done.returncode == 0, done.stderr
    assert "Return a version's entity tag." in etags.read_text()
    assert etags.read_text().endswith("OWN = 1\n")
    assert "Messages in the log: `item created`" in (folder / "README.md").read_text()
    again = run(behind, "update_services", "--check")
    assert again.returncode == 0, again.stderr
    assert "services/warehouse: 1 of" in again.stdout
    git(behind, "reset", "--quiet", "--hard", "HEAD~1")


def test_a_conflict_is_marked_and_listed(behind: Path) -> None:
    etags = behind / "services/warehouse/src/warehouse/etags.py"
    etags.write_text(etags.read_text().replace("Return the entity tag of a version.", "Return a tag."))
    uncommitted = run(behind, "update_services")
    assert uncommitted.returncode == 2
    assert "services/warehouse/src/warehouse/etags.py: is not committed" in uncommitted.stderr
    commit(behind)

    done = run(behind, "update_services")

    assert done.returncode == 1
    assert "services/warehouse/src/warehouse/etags.py: conflict" in done.stderr
    marked = etags.read_text()
    assert marked.index("<<<<<<< ") < marked.index("Return a tag.") < marked.index("=======\n")
    assert (
        marked.index("=======\n") < marked.index("Return a version's entity tag.") < marked.index(">>>>>>> ")
    )
    # The other file is merged.
    assert "Messages in the log:" in (behind / "services/warehouse/README.md").read_text()
    assert run(behind, "update_services", "--check").returncode == 0
    git(behind, "reset", "--quiet", "--hard", "HEAD~1")


def test_migrations_and_removed_files_are_not_merged(behind: Path) -> None:
    migration = "migrations/0003_create_outbox.py"
    improve(behind, f"src/depot/{migration}", '"""Create the outbox."""', '"""Create the table of events."""')
    (behind / "services/warehouse/README.md").unlink()
    commit(behind)
    before = (behind / "services/warehouse/src/warehouse" / migration).read_text()

    done = run(behind, "update_services")

    assert done.returncode == 0, done.stderr
    assert f"services/warehouse/src/warehouse/{migration}: not merged" in done.stdout
    assert "services/warehouse/README.md: stays removed" in done.stdout
    assert (behind / "services/warehouse/src/warehouse" / migration).read_text() == before
    git(behind, "reset", "--quiet", "--hard", "HEAD~1")


def test_a_damaged_record_is_reported(made: Path) -> None:
    record = made / "services/warehouse/.template/rendered.json.xz"
    before = record.read_bytes()
    record.write_bytes(before[:100])

    done = run(made, "update_services", "--check")

    record.write_bytes(before)
    assert done.returncode == 2
    assert "services/warehouse/.template: is damaged" in done.stderr
    assert "git checkout -- services/warehouse/.template" in done.stderr


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    options = Options(
        name="stock", resource="item", needs=[], calls=[], issuer="accounts", port=3002, admin_port=9092
    )
    written = Record(options, {"a.py": "ä = 1\n"})
    for name, content in written.files().items():
        (tmp_path / "stock" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "stock" / name).write_bytes(content)

    found = recorded(tmp_path / "stock")

    assert found == written
    assert json.loads((tmp_path / "stock/.template/options.json").read_text())["name"] == "stock"
    assert recorded(tmp_path / "other") is None
