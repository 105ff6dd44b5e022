"""The environment of a snapshot gives the same settings without reading any file."""

from pathlib import Path
from typing import Annotated

from starkeel_config import Secret, ServiceSettings, Variable, resolve


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Settings given in different ways."""

    password: Annotated[Secret, Variable("PASSWORD")]
    """By file."""
    greeting: Annotated[str, Variable("GREETING")] = "hello"
    """By `.env`."""
    limit: Annotated[int, Variable("LIMIT")] = 1
    """By environment."""
    cert_file: Annotated[str, Variable("CERT_FILE")] = ""
    """A path, not a file form."""


def test_a_snapshot_contains_files_and_dotenv_but_no_defaults(tmp_path: Path) -> None:
    password, dotenv, nothing = tmp_path / "password", tmp_path / ".env", tmp_path / "nothing"
    password.write_text("correct horse\n")
    dotenv.write_text("GREETING=good evening\n")
    environ = {
        "ENVIRONMENT": "development",
        "PASSWORD": "",
        "PASSWORD_FILE": str(password),
        "CERT_FILE": "/cert",
        "PATH": "/bin",
    }
    resolved = resolve(Settings, environ, service="orders", dotenv=dotenv)

    snapshot = resolved.snapshot(environ)
    password.unlink()

    assert snapshot == {
        "ENVIRONMENT": "development",
        "PASSWORD": "correct horse",
        "GREETING": "good evening",
        "CERT_FILE": "/cert",
        "PATH": "/bin",
    }
    assert resolve(Settings, snapshot, service="orders", dotenv=nothing).settings == resolved.settings
    assert "correct horse" not in repr(resolved)
