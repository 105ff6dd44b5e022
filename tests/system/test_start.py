"""Startup of every service: reported problems and imported modules."""

import subprocess
import sys

import pytest
from starkeel_testing import exits

from tools.registry import Service, read, urls
from tools.workspace import service_names

SERVICES = service_names()
REQUIRED = {"database": "DATABASE_URL", "signing key": "JWT_PRIVATE_KEY", "tokens": "JWT_JWKS_URL"}


@pytest.mark.parametrize("service", read(), ids=lambda service: service.name)
def test_all_missing_variables_are_reported_together(service: Service) -> None:
    finished = exits(service.name, {"ENVIRONMENT": "production"})

    assert finished.code == 78
    for variable in (REQUIRED[need] for need in service.needs if need in REQUIRED):
        assert variable in finished.output
    assert "Traceback" not in finished.output


@pytest.mark.parametrize("service", read(), ids=lambda service: service.name)
def test_all_invalid_variables_are_reported_with_the_accepted_values(service: Service) -> None:
    wrong = {"PORT": "70000", "WORKERS": "many", "LOG_FORMAT": "xml"}
    if "database" in service.needs:
        wrong["DATABASE_URL"] = "oracle://u:hunter2@db/x"

    finished = exits(service.name, wrong)

    assert finished.code == 78
    assert all(name in finished.output for name in wrong)
    assert "65535" in finished.output
    assert "hunter2" not in finished.output


@pytest.mark.parametrize("service", SERVICES)
def test_reading_the_settings_imports_no_framework(service: str) -> None:
    code = (
        f"import sys, starkeel_server._cli.serve, {service}.settings\n"
        f"{service}.settings.Settings.__struct_fields__\n"
        "heavy = 'litestar sqlalchemy alembic advanced_alchemy granian uvloop httpx2 redis jwt'\n"
        "print(*sorted(set(heavy.split()) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == []


@pytest.mark.parametrize("service", read(), ids=lambda service: service.name)
def test_a_worker_imports_nothing_that_is_not_used(service: Service) -> None:
    code = (
        "import os, sys\nfrom starkeel_server._process.deferred_imports import UNUSED, deferred_imports\n"
        "with deferred_imports(UNUSED):\n    import jwt, starkeel_server._worker.worker\n"
        f"from {service.name} import SERVICE\n"
        "SERVICE.create_app(SERVICE.resolve(os.environ).settings)\n"
        "unused = 'redis alembic mako jinja2 asyncpg grpc requests opentelemetry.sdk unittest'\n"
        "print(*sorted({*unused.split(), *UNUSED} & set(sys.modules)))"
    )
    environ = {
        "ENVIRONMENT": "development",
        "DATABASE_URL": "sqlite:///unused.db",
        "JWT_ISSUER": "https://accounts.example.com",
        "JWT_AUDIENCE": "shop",
    }
    services = read()
    environ |= urls(service, dict.fromkeys(SERVICES, "http://127.0.0.1:1"), services)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environ
    )

    assert done.stdout.split() == []


@pytest.mark.parametrize("service", SERVICES)
def test_starting_a_worker_waits_for_few_imports(service: str) -> None:
    code = (
        f"import sys\nfrom {service} import SERVICE\nfrom starkeel_server import run\n"
        "from subprocess import Popen\n"
        "used = 'asyncio argparse inspect logging msgspec pathlib structlog starkeel_config._read'\n"
        "def found(event, _):\n"
        "    if event == 'subprocess.Popen':\n"
        "        print(*sorted(set(used.split()) & set(sys.modules)), 'end')\n"
        "        sys.stdout.flush()\n"
        "        import os; os._exit(0)\n"
        f"sys.addaudithook(found)\nsys.argv = [{service!r}]\nrun(SERVICE)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == ["end"]
