"""Check of a URL of Redis, without importing a client."""

from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from starkeel_config import Secret

_WORDS: Final = {
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": ("true", "false"),
}
_TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", *_WORDS)
_OPTIONS: Final = {"redis": ("db",), "rediss": ("db", *_TLS_OPTIONS), "unix": ("db", "username", "password")}
_NO_URL: Final = (
    "is not a URL: special characters of a password must be percent-encoded, and a port is a number"
)
_SINGLE: Final = (
    "use redis:// or rediss:// with one name that leads to the primary, such as that of a proxy, a Kubernetes"
    " Service or the primary endpoint of a cloud provider"
)


def check_redis_url(url: Secret) -> None:
    """Check a URL of Redis, for `Variable(check=...)` or `Settings.problems`.

    Accepted are `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, the same with `rediss` for TLS and the options
    `ssl_ca_certs`, `ssl_ca_path`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs` and `ssl_check_hostname`,
    and `unix:///PATH[?db=DB]`.

    Raises:
        ValueError: The URL cannot work. The message follows the variable's name and contains no part of the
            URL but the name of an option.
    """
    try:
        parts = urlsplit(url.reveal())
    except ValueError:
        raise ValueError(_NO_URL) from None
    _check_scheme(parts)
    if parts.fragment:
        raise ValueError("has a fragment: write %23 for # in a password")
    if parts.scheme == "unix":
        if parts.hostname or len(parts.path) < 2:
            raise ValueError("has no path of a socket: use unix:///PATH")
    else:
        _check_server(parts)
    _check_options(parts)


def _check_scheme(parts: SplitResult) -> None:
    for kind in ("sentinel", "cluster"):
        if kind in parts.scheme:
            raise ValueError(f"is a URL of Redis {kind.capitalize()}, which is not supported: {_SINGLE}")
    if parts.scheme not in _OPTIONS:
        raise ValueError("is not a URL of Redis: use redis://, rediss:// or unix://")
    if "," in parts.netloc.rpartition("@")[2]:
        raise ValueError(
            f"names several hosts, as for Sentinel or Cluster, which is not supported: {_SINGLE}"
        )


def _check_server(parts: SplitResult) -> None:
    try:
        port = parts.port
    except ValueError:
        # The exception's text contains a part of a password that has special characters.
        raise ValueError(_NO_URL) from None
    if not parts.hostname or port == 0:
        raise ValueError("has no host, or port 0: special characters of a password must be percent-encoded")
    database = parts.path.removeprefix("/")
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError("has a path that is not the number of a database, such as /0")


def _check_options(parts: SplitResult) -> None:
    accepted = _OPTIONS[parts.scheme]
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in accepted:
            shown = f"`{name}`" if name.isidentifier() and len(name) <= 40 else "that is not a name"
            raise ValueError(f"has an option {shown}; accepted for {parts.scheme}://: {', '.join(accepted)}")
        words = _WORDS.get(name)
        if words and value not in words:
            raise ValueError(f"has an invalid value of the option `{name}`; accepted: {', '.join(words)}")
        if not value or (name == "db" and not (value.isascii() and value.isdigit())):
            raise ValueError(f"has an invalid value of the option `{name}`")
