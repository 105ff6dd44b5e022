"""Generated files: written, checked, and removed when they are no longer generated."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DASHBOARDS = Path("deploy/observability/grafana/dashboards")


def generate(root: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tools.generate", "dashboards", "--root", str(root), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_file_that_is_no_longer_generated_is_reported_and_removed(tmp_path: Path) -> None:
    assert generate(tmp_path)[0] == 0
    assert generate(tmp_path, "--check") == (0, "")
    obsolete = tmp_path / DASHBOARDS / "starkeel-old.json"
    obsolete.write_text("{}")

    assert generate(tmp_path, "--check") == (
        1,
        f"{DASHBOARDS}/starkeel-old.json is stale: run `just dashboards`\n",
    )
    assert generate(tmp_path) == (0, f"removed {DASHBOARDS}/starkeel-old.json\n")
    assert not obsolete.exists()


def test_progress_is_shown_on_a_terminal_only(tmp_path: Path) -> None:
    main, terminal = os.openpty()
    command = [sys.executable, "-m", "tools.generate", "dashboards", "--root", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=True)

    assert os.read(main, 1000) == b"generating what `just dashboards` writes ...\r\n"
    os.close(main)
    os.close(terminal)


def test_the_dashboards_and_rules_of_this_workspace_are_up_to_date() -> None:
    assert generate(ROOT, "--check") == (0, "")
