"""Private names of Granian, Litestar and prometheus_client that this package uses, checked at startup.

Checks compare signatures and shapes, not only presence. A failed check raises `StartError`: the service does
not start, exits with code 1 and reports, for example, "granian 2.8.9 is not compatible with starkeel-server:
it has no `granian.asgi._callback_wrapper`".
"""

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

from ._config.exit_codes import StartError

GRANIAN = "2.8."
"""Supported versions of Granian."""
GRANIAN_LOGGER = "_granian"
_WORKER_ARGUMENTS = [
    "worker_id",
    "sock",
    "ipc",
    "threads",
    "blocking_threads",
    "py_threads",
    "py_threads_idle_timeout",
    "backpressure",
    "http_mode",
    "http1_opts",
    "http2_opts",
    "websockets_enabled",
    "static_files",
    "ssl_enabled",
    "ssl_cert",
    "ssl_key",
    "ssl_key_password",
    "ssl_protocol_min",
    "ssl_ca",
    "ssl_crl",
    "ssl_client_verify",
    "metrics",
]


class Granian(NamedTuple):
    worker: Any
    socket_holder: Any
    signal: Any
    scheduler: Any
    watch: Any
    wrap: Any


@cache
def granian() -> Granian:
    """Look up the private names of Granian and check their signatures.

    Raises:
        StartError: The installed Granian is not supported.
    """
    installed = version("granian")
    if not installed.startswith(GRANIAN):
        raise StartError(f"granian {installed} is installed, but starkeel-server supports {GRANIAN}x only")
    worker = _find("granian", "granian._granian", "ASGIWorker", *_WORKER_ARGUMENTS, by_keyword=True)
    _check_call(
        "granian", _attribute("granian", worker, "serve_mtr"), "self", "callback", "event_loop", "signal"
    )
    socket_holder = _find("granian", "granian._granian", "SocketHolder", "fd", "uds", "backlog")
    signal = _find("granian", "granian._granian", "WorkerSignal")
    for method in ("add_cb", "set"):
        _attribute("granian", signal, method)
    scheduler = _find("granian", "granian._futures", "_new_cbscheduler", "loop", "cb", "impl_asyncio")
    watch = _find("granian", "granian._futures", "_future_watcher_wrapper", "inner")
    wrap_arguments = ("callback", "scope_opts", "state", "access_log_fmt")
    wrap = _find("granian", "granian.asgi", "_callback_wrapper", *wrap_arguments)
    return Granian(worker, socket_holder, signal, scheduler, watch, wrap)


def ordered_plugins(app: Any) -> list[Any]:
    """Return the plugins of a Litestar application in the order of its list.

    The registry is a set; only its tuples by kind keep the order.

    Raises:
        StartError: The installed Litestar is not supported.
    """
    init = _attribute("litestar", app.plugins, "init")
    if not isinstance(init, tuple):
        raise _incompatible("litestar", f"`PluginRegistry.init` is a {type(init).__name__}, not a tuple")
    return list(dict.fromkeys([*init, *app.plugins]))


def check_litestar() -> None:
    """Check the attribute of route handlers that `/routes` shows.

    Raises:
        StartError: The installed Litestar is not supported.
    """
    from litestar.handlers import BaseRouteHandler

    _attribute("litestar", BaseRouteHandler, "fn")


class ExemplarStore(Protocol):
    """Stores the exemplars of one values file by the positions of their values."""

    def put(self, position: int, exemplar: Any) -> None: ...


def shared_value_class(name: str, open_exemplars: Callable[[Path], ExemplarStore]) -> Any:
    """Return a value class of prometheus_client whose files are named by `name`.

    Unlike the original it stores exemplars and does not check the process id on each change.

    Args:
        name: Name of the process.
        open_exemplars: Opens the exemplars of a values file.
    """
    from prometheus_client import values

    lock = Lock()
    stores: dict[str, ExemplarStore] = {}

    class Value(values.MultiProcessValue(lambda: name)):  # type: ignore[misc]  # untyped upstream
        def inc(self, amount: float) -> None:
            with lock:
                self._value += amount
                self._file.write_value(self._key, self._value, 0.0)

        def set(self, value: float, timestamp: float | None = None) -> None:
            with lock:
                self._value = value
                self._file.write_value(self._key, value, timestamp or 0.0)

        def set_exemplar(self, exemplar: Any) -> None:
            path = self._file._fname  # noqa: SLF001 - not public
            with lock:
                if path not in stores:
                    stores[path] = open_exemplars(Path(path))
                position = self._file._positions[self._key]  # noqa: SLF001 - not public
            stores[path].put(position, exemplar)

    return Value


def read_values(path: Path) -> list[tuple[str, int]]:
    """Return key and position of every value in a values file of prometheus_client."""
    from prometheus_client.mmap_dict import MmapedDict

    rows = MmapedDict.read_all_values_from_file(path)  # type: ignore[no-untyped-call]  # untyped upstream
    return [(key, position) for key, _, _, position in rows]


def check_prometheus_client(directory: Path) -> None:
    """Count with an exemplar, read the value back, and remove its file.

    Args:
        directory: Directory of the metrics files.

    Raises:
        StartError: The installed prometheus_client is not supported.
    """
    from prometheus_client import Counter, values

    positions: list[int] = []

    class Store:
        def put(self, position: int, _exemplar: Any) -> None:
            positions.append(position)

    try:
        values.ValueClass = shared_value_class("probe", lambda _: Store())
        Counter("probe", "Probe.", registry=None).inc(1.0, exemplar={"probe": "1"})
        file = directory / "counter_probe.db"
        stored = [position for _, position in read_values(file)]
        file.unlink()
    except (ImportError, AttributeError, LookupError, TypeError, ValueError, OSError) as error:
        raise _incompatible("prometheus-client", f"{type(error).__name__}: {error}") from error
    if not stored or stored != positions:
        raise _incompatible("prometheus-client", f"values are at {stored}, exemplars at {positions}")


def _find(distribution: str, module: str, name: str, *arguments: str, by_keyword: bool = False) -> Any:
    """Return a function or class of a module that accepts these arguments and requires no others."""
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        raise _incompatible(distribution, f"it has no `{module}.{name}`") from None
    _check_call(distribution, found, *arguments, by_keyword=by_keyword)
    return found


def _attribute(distribution: str, owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        kind = owner if isinstance(owner, type) else type(owner)
        raise _incompatible(distribution, f"`{kind.__name__}` has no `{name}`") from None


def _check_call(distribution: str, function: Any, *arguments: str, by_keyword: bool = False) -> None:
    parameters = _parameters(function)
    accepted = list(parameters)
    fits = set(arguments) <= set(accepted) if by_keyword else accepted[: len(arguments)] == list(arguments)
    if not fits or any(parameters[name] for name in accepted if name not in arguments):
        call = f"{function.__name__}({', '.join(accepted)})"
        raise _incompatible(distribution, f"`{call}` does not accept ({', '.join(arguments)})")


def _parameters(function: Any) -> dict[str, bool]:
    """Return the parameters of a function by name, and whether each is required."""
    # Parsed by hand for functions in C, as `inspect` takes milliseconds.
    text = getattr(function, "__text_signature__", None)
    if text is None:
        parameters = inspect.signature(function).parameters.values()
        return {parameter.name: parameter.default is parameter.empty for parameter in parameters}
    parts = [part for part in text.strip("()").split(", ") if part and part not in {"/", "*"}]
    return {part.partition("=")[0].lstrip("$"): "=" not in part for part in parts}


def _incompatible(distribution: str, reason: str) -> StartError:
    return StartError(
        f"{distribution} {version(distribution)} is not compatible with starkeel-server: {reason}; install a "
        "version that is compatible"
    )
