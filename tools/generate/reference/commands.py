"""Commands of every service."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from .source import code, table

_HEAD: Final = """# Commands of a service

Generated from the parser by `just reference`.

Each is `python -m SERVICE COMMAND`, in the image as in a checkout; without a command the service is served.
Settings come from environment variables: see [configuration](../configuration.md).
[Exit codes](exit-codes.md) are the same for all commands.
"""

_PLUGINS: Final = """
## Commands of plugins

A service whose application has the plugin has its command too.
"""
_COMMANDS: Final = ("starkeel_jobs:JobsPlugin", "starkeel_messaging:MessagingPlugin")


def render(_: Path) -> str:
    """Return the page."""
    # The parser is private to the package: services only run it.
    create = import_module("starkeel_server._cli.parser").create_parser
    parser: argparse.ArgumentParser = create(_Service)
    rows = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public access
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        texts = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
        rows += [[_usage(name, command), texts[name]] for name, command in action.choices.items()]
    return f"{_HEAD}\n{table(['command', 'effect'], rows)}\n{_PLUGINS}\n{_of_plugins()}"


def _of_plugins() -> str:
    rows = []
    for plugin in _COMMANDS:
        kind: Any = getattr(import_module(plugin.partition(":")[0]), plugin.partition(":")[2])
        parser = argparse.ArgumentParser()
        kind.add_arguments(None, parser)
        for action in parser._actions:  # noqa: SLF001
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
                texts = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
                rows += [
                    [code(f"{kind.command_name} {_usage(name, command).strip('`')}"), texts[name]]
                    for name, command in action.choices.items()
                ]
    return table(["command", "effect"], rows)


class _Service:
    name = "SERVICE"


def _usage(name: str, parser: Any) -> str:
    parts = [name]
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._HelpAction):  # noqa: SLF001
            continue
        parts.append(f"[{action.option_strings[0]}]" if action.option_strings else str(action.metavar))
    return code(" ".join(parts))
