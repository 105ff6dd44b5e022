"""Protocols of plugin hooks, their documentation, and detection of misspelled hooks."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import starkeel_config
from starkeel_config import FeaturesHook, ReadinessCriticalHook, ReadinessHook, misspelled_hooks
from starkeel_config._plugins import hooks

PAGE = Path(__file__).resolve().parents[3] / "docs" / "plugins.md"


def documented() -> dict[str, str]:
    """Return the signatures in the tables of `docs/plugins.md` with their protocols."""
    rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): row[1].strip("`") for row in rows if len(row) == 4}


def declared() -> Iterator[tuple[str, str]]:
    """Yield the signature of every hook in the source of the protocols, with its protocol."""
    for node in ast.parse(Path(hooks.__file__).read_text()).body:
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.AnnAssign):
                    yield ast.unparse(member), node.name
                elif isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    for argument in member.args.args:
                        if isinstance(argument.annotation, ast.Constant):
                            # Quoted, as its module is imported for type checkers only.
                            argument.annotation = ast.Name(argument.annotation.value)
                    arguments = ast.unparse(member.args).removeprefix("self").removeprefix(", ")
                    prefix = "async " if isinstance(member, ast.AsyncFunctionDef) else ""
                    assert member.returns is not None
                    yield f"{prefix}{member.name}({arguments}) -> {ast.unparse(member.returns)}", node.name


def test_the_documentation_lists_exactly_the_hooks_of_the_protocols() -> None:
    assert documented() == dict(declared())


def test_hooks_maps_every_member_to_its_protocol() -> None:
    names = {re.sub(r"\W.*", "", signature.removeprefix("async ")): each for signature, each in declared()}

    assert {name: protocol.__name__ for name, protocol in hooks.HOOKS.items()} == names
    assert {protocol.__name__ for protocol in hooks.HOOKS.values()} <= set(starkeel_config.__all__)


class Complete:
    readiness_name = "queue"
    readiness_critical = False

    async def check_ready(self) -> None: ...

    def features(self) -> list[tuple[str, bool, str]]:
        return []

    @property
    def connected(self) -> bool:
        raise AssertionError("properties must not be evaluated")


def test_an_object_is_checked_at_run_time() -> None:
    plugin = Complete()

    assert isinstance(plugin, ReadinessHook)
    assert isinstance(plugin, ReadinessCriticalHook)
    assert isinstance(plugin, FeaturesHook)
    assert not isinstance(object(), ReadinessHook)
    assert misspelled_hooks(plugin) == []


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        ("check_redy", "check_ready"),
        ("check_raedy", "check_ready"),
        ("feature", "features"),
        ("start_procces", "start_process"),
        ("strat_proces", None),
        ("startprocess", "start_process"),
        ("readines_name", "readiness_name"),
        ("migration_sqll", "migration_sql"),
        ("_features", None),
        ("on_app_init", None),
        ("close", None),
        ("checks", None),
    ],
)
def test_a_misspelled_hook_is_found(name: str, hook: str | None) -> None:
    plugin = type("Plugin", (), {name: lambda self: None})()

    assert misspelled_hooks(plugin) == ([] if hook is None else [(name, hook)])


def test_a_similar_member_beside_the_hook_itself_is_no_misspelling() -> None:
    plugin = type("Plugin", (), {"features": lambda self: (), "feature": lambda self: None})()

    assert misspelled_hooks(plugin) == []


def test_attributes_of_the_instance_are_checked() -> None:
    plugin = type("Plugin", (), {})()
    plugin.readiness_nane = "queue"

    assert misspelled_hooks(plugin) == [("readiness_nane", "readiness_name")]


def test_the_protocols_are_imported_without_a_web_framework() -> None:
    code = "import sys; from starkeel_config import MainProcessHook; print('litestar' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "False\n"
