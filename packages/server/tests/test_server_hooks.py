"""The order in which plugins are asked: that of the application's list."""

from collections.abc import Iterable

from litestar import Litestar
from litestar.plugins import InitPlugin
from starkeel_server._app.plugin_hooks import PluginHooks

COUNT = 20  # so many that a set would hardly keep their order by chance


def numbered(number: int, told: list[int]) -> InitPlugin:
    class Numbered(InitPlugin):
        def features(self) -> Iterable[tuple[str, bool, str]]:
            yield str(number), True, "always"

        def start_process(self, *, role: str, index: int, workers: int) -> None:
            told.append(number)

        def stop_process(self, *, timeout_s: float) -> None:
            told.append(-number)

    return Numbered()


def test_plugins_are_started_as_listed_and_stopped_the_other_way_round() -> None:
    told: list[int] = []
    numbers = list(range(1, COUNT + 1))
    hooks = PluginHooks(Litestar(plugins=[numbered(number, told) for number in numbers]))

    hooks.start_process(role="main", index=0, workers=1)
    hooks.stop_process(timeout_s=1)

    assert told == numbers + [-number for number in reversed(numbers)]
    assert [name for name, _, _ in hooks.features()] == [str(number) for number in numbers]
