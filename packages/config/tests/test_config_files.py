"""Values read from files, such as mounted secrets."""

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from starkeel_config import (
    ConfigurationError,
    Problem,
    Secret,
    ServiceSettings,
    Settings,
    Variable,
    load,
    resolve,
)

URL = "postgresql://orders:wpLbgy7sK2@db/orders"
GOOD = {"DATABASE_URL": URL}


class Database(Settings, frozen=True, kw_only=True):
    url: Annotated[Secret, Variable("DATABASE_URL", development="sqlite:///.data/{service}.db")]


class Server(Settings, frozen=True, kw_only=True):
    port: Annotated[int, Variable("PORT"), msgspec.Meta(ge=1, le=65535)] = 3000
    certificate: Annotated[Path | None, Variable("TLS_CERT_FILE")] = None


class Service(ServiceSettings, frozen=True, kw_only=True):
    server: Server
    database: Database


def problems_of(environ: dict[str, str], struct: type[Settings] = Service) -> list[Problem]:
    with pytest.raises(ConfigurationError) as caught:
        load(struct, environ, service="orders")
    return list(caught.value.problems)


def source_of(variable: str, environ: dict[str, str]) -> str:
    entries = resolve(Service, environ, service="orders").entries
    return next(entry.source for entry in entries if entry.variable == variable)


def test_a_secret_is_read_from_a_file_without_trailing_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_bytes(URL.encode() + b"\r\n")
    environ = {"DATABASE_URL_FILE": str(path)}

    assert load(Service, environ, service="orders").database.url == Secret(URL)
    assert source_of("DATABASE_URL", environ) == f"file {path}"


def test_inner_line_ends_of_a_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("one\ntwo\n")

    assert load(Database, {"DATABASE_URL_FILE": str(path)}, service="orders").url == Secret("one\ntwo")


def test_environment_may_be_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "environment"
    path.write_text("development\n")

    assert load(Service, {"ENVIRONMENT_FILE": str(path)}, service="orders").environment == "development"


def test_a_variable_and_its_file_variable_are_mutually_exclusive(tmp_path: Path) -> None:
    assert problems_of({**GOOD, "DATABASE_URL_FILE": str(tmp_path)}) == [
        Problem("DATABASE_URL", "and DATABASE_URL_FILE are both set", "one of the two")
    ]


def test_an_empty_file_variable_is_absent() -> None:
    assert load(Service, {**GOOD, "DATABASE_URL_FILE": ""}, service="orders").database.url == Secret(URL)


def test_a_variable_ending_in_file_is_a_path_and_has_no_file_variable(tmp_path: Path) -> None:
    path = tmp_path / "certificate.pem"
    environ = {**GOOD, "TLS_CERT_FILE": str(path), "TLS_CERT_FILE_FILE": str(tmp_path / "missing")}

    assert load(Service, environ, service="orders").server.certificate == path


def _missing(folder: Path) -> str:
    return "No such file or directory"


def _folder(folder: Path) -> str:
    (folder / "url").mkdir()
    return "it is not a regular file"


def _pipe(folder: Path) -> str:
    os.mkfifo(folder / "url")
    return "it is not a regular file"


def _large(folder: Path) -> str:
    (folder / "url").write_bytes(b"x" * (64 * 1024 + 1))
    return "it is larger than 64 KiB"


def _latin(folder: Path) -> str:
    (folder / "url").write_bytes("müll".encode("latin-1"))
    return "it is not UTF-8"


def _nul(folder: Path) -> str:
    (folder / "url").write_bytes(b"a\0b")
    return "it contains a NUL character"


@pytest.mark.parametrize("spoil", [_missing, _folder, _pipe, _large, _latin, _nul])
def test_an_unreadable_file_is_reported_with_its_path(tmp_path: Path, spoil: Any) -> None:
    reason = spoil(tmp_path)

    (problem,) = problems_of({"DATABASE_URL_FILE": str(tmp_path / "url")}, Database)

    assert problem == Problem(
        "DATABASE_URL_FILE",
        f"is '{tmp_path / 'url'}': {reason}",
        "the path of a readable UTF-8 file of at most 64 KiB",
    )


def test_an_empty_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("\n")

    (problem,) = problems_of({"DATABASE_URL_FILE": str(tmp_path / "url")}, Database)

    assert problem.variable == "DATABASE_URL_FILE"
    assert problem.wrong.endswith("it is empty")


@pytest.mark.parametrize(
    "mistaken", ["wpLbgy7sK2", "/wpLbgy7sK2", "-----BEGIN\nwpLbgy7sK2", "wpLbgy7sK2" * 900]
)
def test_a_secret_set_instead_of_its_path_is_not_displayed(mistaken: str) -> None:
    (problem,) = problems_of({"DATABASE_URL_FILE": mistaken}, Database)

    assert problem.variable == "DATABASE_URL_FILE"
    assert "wpLbgy7sK2" not in str(problem)


def test_the_content_of_a_file_is_never_displayed(tmp_path: Path) -> None:
    path = tmp_path / "port"
    path.write_text("wpLbgy7sK2")

    (problem,) = problems_of({**GOOD, "PORT_FILE": str(path)})

    assert problem == Problem(
        "PORT",
        f"has an invalid value (from file {path})",
        "a whole number from 1 to 65535",
    )
