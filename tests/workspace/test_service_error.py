"""A service whose code fails is reported by the commands that import it, in a few lines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.workspace_copy import copied

NEEDED_SERVICES = ("orders",)

SOURCE = "services/orders/src/orders"
ROUTE = 'async def orders_of_today(day: "NoSuchType") -> None:'
FAULTS = {
    "annotation": (
        f'\n\n@get("/api/orders/today")\n{ROUTE}\n    """List."""\n',
        "in the handler orders_of_today): NameError: name 'NoSuchType' is not defined",
    ),
    "syntax": ("def (\n", "SyntaxError: invalid syntax"),
    "import": (
        "import nosuchmodule\n",
        "in <module>): ModuleNotFoundError: No module named 'nosuchmodule'",
    ),
    "cause": (
        'try:\n    {}["a"]\nexcept KeyError as error:\n    raise ValueError("no a") from error\n',
        "in <module>): ValueError: no a caused by KeyError: 'a'",
    ),
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copied(tmp_path_factory.mktemp("workspace"))
    app = root / SOURCE / "app.py"
    listed = app.read_text().replace("handlers=[Order", "handlers=[*live_updates.MORE, Order")
    app.write_text(
        listed.replace("from .live_updates import", "from . import live_updates\nfrom .live_updates import")
    )
    return root


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("module", ["generate openapi", "checks.declarations"])
def test_a_failure_names_the_service_and_the_place(workspace: Path, module: str, fault: str) -> None:
    text, problem = FAULTS[fault]
    file = workspace / SOURCE / "live_updates.py"
    original = file.read_text()
    more = "orders_of_today" if "orders_of_today" in text else ""
    file.write_text(f"{original}{text}\nMORE = [{more}]\n")
    sources = [str(path) for path in workspace.glob("services/*/src")]
    try:
        done = subprocess.run(
            [sys.executable, "-m", *f"tools.{module}".split()],
            cwd=workspace, env=os.environ | {"PYTHONPATH": os.pathsep.join([str(workspace), *sources])},
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    finally:
        file.write_text(original)

    assert done.returncode == os.EX_CONFIG, done
    *frames, sentence = done.stderr.splitlines()
    assert sentence.startswith(f"services/orders cannot be described ({SOURCE}/live_updates.py:"), done.stderr
    assert sentence.endswith(problem)
    files = [line for line in frames if line.startswith('  File "')]
    assert files
    # Neither of the packages and libraries between, nor of the tools.
    assert all(line.startswith(f'  File "{SOURCE}/') for line in files)
    assert "Traceback" not in done.stderr
