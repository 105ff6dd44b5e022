"""The generated reference and the command that writes it."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from starkeel_config import (
    Documented,
    Reference,
    Secret,
    ServiceSettings,
    Settings,
    Variable,
    prefixed,
    reference,
    render_env_example,
    render_markdown,
    resolve,
)


class Database(Settings, frozen=True, kw_only=True):
    """Database connection. The second sentence is for developers.

    So is this paragraph.
    """

    url: Annotated[Secret, Variable("DATABASE_URL", development="sqlite:///.data/{service}.db")]
    """URL of the database,
    a | b."""

    limit: Annotated[int, Variable("DB_MAX_CONNECTIONS"), msgspec.Meta(ge=1, le=99)] = 20
    """Connections."""

    workers: Annotated[int, Variable("WORKERS")] = 1
    """Number of processes."""


class Upstream(Settings, frozen=True, kw_only=True):
    """Another service"""

    url: Annotated[str, Variable("URL")]
    """Base URL."""

    certificate: Annotated[Path | None, Variable("CA_FILE")] = None
    """Trusted authorities, `<a file>` or <none>."""


class Accounts(ServiceSettings, frozen=True, kw_only=True):
    """The accounts service."""

    database: Database
    pace: Annotated[str, Variable("RATE_LIMIT")] = "10/minute"
    """Request rate."""

    name: Annotated[str, Variable("OTEL_SERVICE_NAME", service_default="{service}")]
    """Service name."""

    form: Annotated[Literal["json", "pretty"], Variable("LOG_FORMAT", development="pretty")] = "json"
    """Format of a # line."""

    greeting: Annotated[str, Variable("GREETING")] = 'say "hi" # $you\\'
    """Greeting text."""


class Orders(ServiceSettings, frozen=True, kw_only=True):
    """The orders service."""

    workers: Annotated[int, Variable("WORKERS")] = 1
    database: Database
    accounts: Upstream = prefixed("ACCOUNTS", development={"URL": "http://127.0.0.1:3000"})
    pace: Annotated[str, Variable("RATE_LIMIT")] = "60/minute"
    """Request rate."""


def both() -> list[Reference]:
    return [reference(Accounts, service="accounts"), reference(Orders, service="orders")]


def variables(found: Reference) -> dict[str, Documented]:
    return {variable.name: variable for section in found.sections for variable in section.variables}


def test_a_reference_contains_every_variable_of_a_service() -> None:
    found = variables(reference(Orders, service="orders"))

    assert list(found) == [
        "ENVIRONMENT", "WORKERS", "RATE_LIMIT", "DATABASE_URL", "DB_MAX_CONNECTIONS", "ACCOUNTS_URL",
        "ACCOUNTS_CA_FILE",
    ]  # fmt: skip
    assert found["DATABASE_URL"] == Documented(
        name="DATABASE_URL",
        description="URL of the database,\na | b.",
        accepts="text (secret)",
        default=None,
        development="sqlite:///.data/{service}.db",
        secret=True,
        by_file="DATABASE_URL_FILE",
    )
    assert found["DB_MAX_CONNECTIONS"].default == "20"
    assert found["DB_MAX_CONNECTIONS"].accepts == "a whole number from 1 to 99"
    assert found["ACCOUNTS_URL"].development == "http://127.0.0.1:3000"
    assert found["ACCOUNTS_CA_FILE"].default == ""
    assert found["ACCOUNTS_CA_FILE"].by_file is None


def test_undocumented_lists_variables_without_a_description() -> None:
    assert reference(Orders, service="orders").undocumented() == ("WORKERS",)
    assert reference(Accounts, service="accounts").undocumented() == ()


def test_sections_are_the_classes_that_declare_the_variables() -> None:
    sections = reference(Orders, service="orders").sections

    assert [(section.title, section.prefix) for section in sections] == [
        ("The service itself", ""),
        ("The orders service", ""),
        ("Database connection", ""),
        ("Another service", "ACCOUNTS_"),
    ]


SQLITE = "in development `sqlite:///.data/{service}.db`"
ACCOUNTS = "in development `http://127.0.0.1:3000`"


def test_the_page_lists_each_variable_once_with_its_readers() -> None:
    page = render_markdown(both())

    rows = [line for line in page.splitlines() if line.startswith("| `")]
    rows[0] = re.sub(r"Environment: [^|]*", "The environment.", rows[0])
    assert [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows] == [
        ["`ENVIRONMENT`", "The environment.", "production or development", "`production`", "all services"],
        [
            "`RATE_LIMIT`",
            "Request rate.",
            "text",
            "`10/minute` (accounts); `60/minute` (orders)",
            "all services",
        ],
        ["`OTEL_SERVICE_NAME`", "Service name.", "text", "`{service}`", "accounts"],
        [
            "`LOG_FORMAT`",
            "Format of a # line.",
            "json or pretty",
            "`json`; in development `pretty`",
            "accounts",
        ],
        ["`GREETING`", "Greeting text.", "text", '`say "hi" # $you\\`', "accounts"],
        [
            "`DATABASE_URL`",
            "URL of the database, a \\| b.",
            "text (secret)",
            f"required; {SQLITE}",
            "all services",
        ],
        ["`DB_MAX_CONNECTIONS`", "Connections.", "a whole number from 1 to 99", "`20`", "all services"],
        ["`WORKERS`", "Number of processes.", "a whole number", "`1`", "all services"],
        ["`ACCOUNTS_URL`", "Base URL.", "text", f"required; {ACCOUNTS}", "orders"],
        ["`ACCOUNTS_CA_FILE`", "Trusted authorities, `<a file>` or &lt;none>.", "a path", "none", "orders"],
    ]
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings[-1] == "## Another service (`ACCOUNTS_*`)"


def test_rendering_is_deterministic() -> None:
    assert render_markdown(both()) == render_markdown(both())
    assert render_env_example(both()) == render_env_example(both())


def uncommented(references: Sequence[Reference]) -> str:
    lines = render_env_example(references).splitlines()
    return "\n".join(line[1:] if line.startswith("#") and line[1:2].isalpha() else line for line in lines)


def test_every_line_of_the_env_example_is_a_comment() -> None:
    lines = render_env_example(both()).splitlines()

    assert all(not line or line.startswith("#") for line in lines)
    assert "#DB_MAX_CONNECTIONS=20" in lines
    assert "#DATABASE_URL=" in lines
    assert "#RATE_LIMIT=" in lines


def test_the_uncommented_env_example_equals_the_development_defaults(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(uncommented([reference(Accounts, service="accounts")]))
    environ = {"ENVIRONMENT": "development"}

    with_file = resolve(Accounts, environ, service="accounts", dotenv=path)

    assert (
        with_file.settings
        == resolve(Accounts, environ, service="accounts", dotenv=tmp_path / "none").settings
    )
    sources = {entry.variable: entry.source for entry in with_file.entries}
    assert sources["GREETING"] == ".env"
    assert sources["LOG_FORMAT"] == ".env"


ROOT = Path(__file__).resolve().parents[3]


SETTINGS = '''
from typing import Annotated
from starkeel_config import ServiceSettings, Variable

class Settings(ServiceSettings, frozen=True, kw_only=True):
    """The demo service."""
    pace: Annotated[int, Variable("PACE")] = 1
    """Maximum rate."""
'''


def workspace(folder: Path, settings: str) -> Path:
    package = folder / "services" / "demo" / "src" / "demo"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "settings.py").write_text(settings)
    return folder


def run_tool(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.generate", "reference", "--root", str(root), *arguments]
    environ = {"PYTHONPATH": str(root / "services" / "demo" / "src")}
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("spoilt", ["docs/configuration.md", ".env.example"])
def test_the_command_writes_files_that_pass_its_check_and_names_stale_ones(
    tmp_path: Path, spoilt: str
) -> None:
    root = workspace(tmp_path, SETTINGS)
    written = run_tool(root)
    assert written.returncode == 0, written.stderr
    assert run_tool(root, "--check").returncode == 0
    assert "`PACE`" in (root / "docs" / "configuration.md").read_text()

    (root / spoilt).write_text("stale")
    checked = run_tool(root, "--check")

    assert checked.returncode == 1
    assert checked.stderr == f"{spoilt} is stale: run `just reference`\n"
    assert (root / spoilt).read_text() == "stale"


def test_the_command_rejects_a_variable_without_a_description(tmp_path: Path) -> None:
    root = workspace(tmp_path, SETTINGS.replace('"""Maximum rate."""', ""))

    done = run_tool(root)

    assert done.returncode == 1
    assert done.stderr == "demo: describe these by a string below their fields: PACE\n"


def test_the_command_rejects_a_workspace_without_services(tmp_path: Path) -> None:
    assert run_tool(tmp_path).returncode == 1


def test_the_reference_of_this_workspace_is_up_to_date() -> None:
    checked = run_tool(ROOT, "--check")

    assert checked.returncode == 0, checked.stderr
