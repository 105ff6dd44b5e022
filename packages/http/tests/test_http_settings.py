"""Settings of the edge and parsing of their values."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, get
from litestar.exceptions import ImproperlyConfiguredException
from litestar.params import FromQuery
from msgspec import Meta
from starkeel_config import ConfigurationError, Secret, ServiceSettings, Variable, load
from starkeel_http import AllowedHost, HttpPlugin, HttpSettings, Network, Origin, Rate, request_timeout


class Both(ServiceSettings, frozen=True, kw_only=True):
    http: HttpSettings
    redis_url: Annotated[Secret | None, Variable("REDIS_URL")] = None


def _loaded(**environ: str) -> HttpSettings:
    return load(Both, environ, service="sample").http


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = _loaded()

    assert (settings.request_timeout_s, settings.max_body_bytes) == (30, 1024 * 1024)
    assert (settings.cors_allowed_origins, settings.trusted_proxies) == ((), ())
    assert (settings.redis_url, settings.rate_limit_on_error) == (None, "open")


def test_other_settings_may_share_the_redis_url() -> None:
    both = load(Both, {"REDIS_URL": "redis://:hunter2@redis/0"}, service="sample")

    assert both.redis_url is not None
    assert both.redis_url == both.http.redis_url


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("CORS_ALLOWED_ORIGINS", "*", "exact origins"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example/", "origin"),
        ("CORS_ALLOWED_ORIGINS", "a.example", "origin"),
        ("CORS_ALLOWED_ORIGINS", "https://*.example", "origin"),
        ("CORS_ALLOWED_ORIGINS", "https://user@a.example", "origin"),
        ("CORS_ALLOWED_ORIGINS", "null", "origin"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example:70000", "port out of range"),
        ("ALLOWED_HOSTS", "https://a.example", "is a URL"),
        ("ALLOWED_HOSTS", "a.example:70000", "port out of range"),
        ("ALLOWED_HOSTS", "a.*.example", "is not a host"),
        ("ALLOWED_HOSTS", "*a.example", "is not a host"),
        ("ALLOWED_HOSTS", "[::1", "is not a host"),
        ("ALLOWED_HOSTS", "[::1::]", "invalid IPv6 address"),
        ("COMPRESSION_CODINGS", "deflate", "zstd, gzip or br"),
        ("COMPRESSION_CODINGS", "zstd,gzip,br,br", "1 to 3 items"),
        ("COMPRESSION_MIN_BYTES", "100", "from 256"),
        ("MAX_HEADERS", "101", "from 16 to 100"),
        ("MAX_HEADER_BYTES", "1", "from 4096"),
        ("MAX_URL_BYTES", "65535", "65534"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "10.0.0.0/8"),
        ("TRUSTED_PROXIES", "*", "CIDR"),
        ("INTERNAL_NETWORKS", "10.0.0.1/8", "10.0.0.0/8"),
        ("REQUEST_TIMEOUT_SECONDS", "0", "0.01"),
        ("REQUEST_TIMEOUT_SECONDS", "inf", "number"),
        ("MAX_BODY_BYTES", "-1", "from 0"),
        ("RATE_LIMIT_ON_ERROR", "ajar", "open or closed"),
        ("REDIS_URL", "http://:hunter2@redis", "redis://"),
        ("REDIS_URL", "redis+sentinel://:hunter2@redis/primary", "Redis Sentinel, which is not supported"),
        ("REDIS_URL", "redis://:hunter2@a,b", "several hosts, as for Sentinel or Cluster"),
    ],
)
def test_invalid_values_are_reported(variable: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        _loaded(**{variable: value})

    [problem] = raised.value.problems
    assert problem.variable == variable
    assert expected in str(problem)
    assert "hunter2" not in str(problem)


def test_a_coding_without_its_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starkeel_http._base.settings.find_spec", lambda _: None)

    with pytest.raises(ConfigurationError, match=r"starkeel-http\[brotli\]"):
        _loaded(COMPRESSION_CODINGS="gzip,br")


def test_any_origin_is_allowed_in_development() -> None:
    assert _loaded(CORS_ALLOWED_ORIGINS="*", ENVIRONMENT="development").cors_allowed_origins == ("*",)


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("https://Shop.Example.com:443", "https://shop.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_origins_are_normalized_as_browsers_send_them(text: str, normalized: str) -> None:
    assert Origin.parse(text) == normalized


@given(st.text(max_size=40) | st.from_regex(r"https?://[a-zA-Z0-9.:\[\]-]{1,20}"))
def test_parsing_an_origin_is_idempotent(text: str) -> None:
    try:
        origin = Origin.parse(text)
    except ValueError:
        return
    assert Origin.parse(origin) == origin
    assert "/" not in origin.partition("://")[2]


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("API.Example.com", "api.example.com"),
        ("api.example.com.:443", "api.example.com:443"),
        ("*.Example.com:08443", "*.example.com:8443"),
        ("[2001:DB8:0::7]:80", "[2001:db8::7]:80"),
        ("*", "*"),
    ],
)
def test_allowed_hosts_are_normalized(text: str, normalized: str) -> None:
    assert AllowedHost.parse(text) == normalized


@given(st.text(max_size=30) | st.from_regex(r"(\*\.)?[a-zA-Z0-9.:\[\]-]{1,20}"))
def test_parsing_an_allowed_host_is_idempotent(text: str) -> None:
    try:
        host = AllowedHost.parse(text)
    except ValueError:
        return
    assert AllowedHost.parse(host) == host


@given(st.text(max_size=30) | st.ip_addresses().map(lambda ip: f"{ip}/24"))
def test_parsing_a_network_is_idempotent(text: str) -> None:
    try:
        network = Network.parse(text)
    except ValueError:
        return
    assert Network.parse(network) == network


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/minute", Rate(10, 60)),
        ("100 / Hour", Rate(100, 3600)),
        ("5/10seconds", Rate(5, 10)),
        ("5/10 seconds", Rate(5, 10)),
        ("1/day", Rate(1, 86400)),
        ("10000/31 days", Rate(10000, 31 * 86400)),
    ],
)
def test_rates_are_parsed(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text", ["", "10", "10/", "/minute", "0/minute", "-1/minute", "1/0 seconds", "1/32 days", "10001/day",
             "1.5/minute", "1/fortnight", "1/minute;", "\N{ARABIC-INDIC DIGIT ONE}/minute", "1/1/minute"],
)  # fmt: skip
def test_invalid_rates_are_rejected(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (most have an empty message)
        Rate.parse(text)


@given(st.integers(1, 10_000), st.integers(1, 31 * 86400), st.integers(1, 64))
def test_parsing_a_rate_inverts_formatting(amount: int, window_s: int, workers: int) -> None:
    rate = Rate(amount, window_s)
    if window_s <= 99_999 or window_s % 60 == 0:
        assert Rate.parse(str(rate)) == rate
    share = rate.shared_by(workers)
    assert 1 <= share.amount <= amount
    assert share.amount * workers <= max(amount, workers)


@given(st.text(max_size=20))
def test_any_text_is_a_rate_or_a_value_error(text: str) -> None:
    try:
        rate = Rate.parse(text)
    except ValueError:
        return
    assert Rate.parse(str(rate)) == rate


def test_an_unenforced_bound_is_rejected() -> None:
    @get("/")
    async def handler(limit: FromQuery[Annotated[int, Meta(ge=1)]]) -> None: ...

    with pytest.raises(ImproperlyConfiguredException, match=r"`limit` of .* pass `ge` to `QueryParameter`"):
        Litestar([handler], plugins=[HttpPlugin(HttpSettings())])


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), 86_401])
def test_request_timeouts_are_bounded(seconds: float) -> None:
    with pytest.raises(ValueError, match="request timeout is"):
        request_timeout(seconds)


def test_features_are_reported_with_reasons() -> None:
    features = {name: (is_on, why) for name, is_on, why in HttpPlugin(HttpSettings()).features()}
    assert features["cors"] == (False, "CORS_ALLOWED_ORIGINS is not set")
    assert features["allowed hosts"] == (False, "ALLOWED_HOSTS is not set")
    assert features["trusted proxies"] == (False, "TRUSTED_PROXIES is not set")
    assert features["rate limits"][0] is False

    plugin = HttpPlugin(_loaded(REDIS_URL="redis://r"), limits={"sign_up": Rate.parse("10/minute")})
    features = {name: (is_on, why) for name, is_on, why in plugin.features()}
    assert features["rate limits"] == (True, "sign_up 10/minute; counted in Redis")
