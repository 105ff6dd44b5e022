"""Order in which the hooks of plugins are called."""

from collections.abc import Iterable

from litestar import Litestar
from litestar.plugins import InitPlugin
from starkeel_server._app.plugin_hooks import PluginHooks

COUNT = 20  # enough that a set would not keep the order by chance


def numbered(number: int, calls: list[int]) -> InitPlugin:
    class Numbered(InitPlugin):
        def features(self) -> Iterable[tuple[str, bool, str]]:
            yield str(number), True, "always"

        def start_process(self, *, role: str, index: int, workers: int) -> None:
            calls.append(number)

        def stop_process(self, *, timeout_s: float) -> None:
            calls.append(-number)

    return Numbered()


def test_plugins_start_in_list_order_and_stop_in_reverse_order() -> None:
    calls: list[int] = []
    numbers = list(range(1, COUNT + 1))
    hooks = PluginHooks(Litestar(plugins=[numbered(number, calls) for number in numbers]))

    hooks.start_process(role="main", index=0, workers=1)
    hooks.stop_process(timeout_s=1)

    assert calls == numbers + [-number for number in reversed(numbers)]
    logged: dict[str, list[str]] = {}
    hooks.log_features(lambda _, **features: logged.update(features))
    assert logged == {"on": [f"{number} (always)" for number in numbers], "off": []}
