"""Private names of Granian and Litestar that this package uses, checked at startup.

Checks compare signatures and shapes, not only presence. A failed check raises `StartError`: the service does
not start, exits with code 1 and reports, for example, "granian 2.8.9 is not compatible with starkeel-server:
it has no `granian.asgi._callback_wrapper`".
"""

import inspect
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

from ._config.exit_codes import StartError

GRANIAN = "2.8."
"""Supported versions of Granian."""
GRANIAN_LOGGER = "_granian"
_WORKER_ARGUMENTS = (
    "worker_id", "sock", "ipc", "threads", "blocking_threads", "py_threads", "py_threads_idle_timeout",
    "backpressure", "http_mode", "http1_opts", "http2_opts", "websockets_enabled", "static_files",
    "ssl_enabled", "ssl_cert", "ssl_key", "ssl_key_password", "ssl_protocol_min", "ssl_ca", "ssl_crl",
    "ssl_client_verify", "metrics",
)  # fmt: skip


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
    worker = _find("_granian", "ASGIWorker", *_WORKER_ARGUMENTS, by_keyword=True)
    _check_call(_attribute("granian", worker, "serve_str"), "self", "callback", "event_loop", "signal")
    signal = _find("_granian", "WorkerSignal")
    for method in ("add_cb", "set"):
        _attribute("granian", signal, method)
    return Granian(
        worker,
        socket_holder=_find("_granian", "SocketHolder", "fd", "uds", "backlog"),
        signal=signal,
        scheduler=_find("_futures", "_new_cbscheduler", "loop", "cb", "impl_asyncio"),
        watch=_find("_futures", "_future_watcher_wrapper", "inner"),
        wrap=_find("asgi", "_callback_wrapper", "callback", "scope_opts", "state", "access_log_fmt"),
    )


def ordered_plugins(app: Any) -> list[Any]:
    """Return the plugins of a Litestar application in the order of its list.

    The registry is a set; only its tuples by kind keep the order.

    Raises:
        StartError: The installed Litestar is not supported.
    """
    init = _attribute("litestar", app.plugins, "init")
    if not isinstance(init, tuple):
        raise incompatible("litestar", f"`PluginRegistry.init` is a {type(init).__name__}, not a tuple")
    return list(dict.fromkeys([*init, *app.plugins]))


def check_litestar() -> None:
    """Check the attribute of route handlers that `/routes` shows.

    Raises:
        StartError: The installed Litestar is not supported.
    """
    from litestar.handlers import BaseRouteHandler

    _attribute("litestar", BaseRouteHandler, "fn")


def _find(module: str, name: str, *arguments: str, by_keyword: bool = False) -> Any:
    """Return a function or class of Granian that accepts these arguments and requires no others."""
    try:
        found = getattr(import_module(f"granian.{module}"), name)
    except (ImportError, AttributeError):
        raise incompatible("granian", f"it has no `granian.{module}.{name}`") from None
    _check_call(found, *arguments, by_keyword=by_keyword)
    return found


def _attribute(distribution: str, owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        kind = owner if isinstance(owner, type) else type(owner)
        raise incompatible(distribution, f"`{kind.__name__}` has no `{name}`") from None


def _check_call(function: Any, *arguments: str, by_keyword: bool = False) -> None:
    parameters = _parameters(function)
    accepted = list(parameters)
    fits = set(arguments) <= set(accepted) if by_keyword else accepted[: len(arguments)] == list(arguments)
    if not fits or any(parameters[name] for name in accepted if name not in arguments):
        call = f"{function.__name__}({', '.join(accepted)})"
        raise incompatible("granian", f"`{call}` does not accept ({', '.join(arguments)})")


def _parameters(function: Any) -> dict[str, bool]:
    """Return the parameters of a function by name, and whether each is required."""
    # Parsed by hand for functions in C, as `inspect` takes milliseconds.
    text = getattr(function, "__text_signature__", None)
    if text is None:
        parameters = inspect.signature(function).parameters.values()
        return {parameter.name: parameter.default is parameter.empty for parameter in parameters}
    parts = [part for part in text.strip("()").split(", ") if part and part not in {"/", "*"}]
    return {part.partition("=")[0].lstrip("$"): "=" not in part for part in parts}


def incompatible(distribution: str, reason: str) -> StartError:
    """Return the error for an installed distribution that is not supported."""
    return StartError(
        f"{distribution} {version(distribution)} is not compatible with starkeel-server: {reason}; install a "
        "version that is compatible"
    )
