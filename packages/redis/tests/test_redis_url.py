"""URLs that are accepted, and those that are refused with a reason and without a secret."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url
from starkeel_config import Secret
from starkeel_redis import check_redis_url


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis",
        "redis://redis:6379/0",
        "redis://user:hunter2@[::1]:6379/15",
        "redis://:p%23a%2Fs@redis/",
        "rediss://redis:6380/0?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required&ssl_check_hostname=false",
        "unix:///run/redis.sock",
        "unix://user:hunter2@/run/redis.sock?db=2",
        "redis://redis?db=3",
    ],
)
def test_valid_urls_are_accepted(url: str) -> None:
    check_redis_url(Secret(url))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "use redis://"),
        ("redis", "use redis://"),
        ("http://:hunter2@redis", "use redis://, rediss:// or unix://"),
        ("redis+sentinel://:hunter2@a:26379/primary/0", "is a URL of Redis Sentinel, which is not supported"),
        ("redis-sentinel://a", "Redis Sentinel"),
        ("sentinel://a", "Redis Sentinel"),
        ("rediss+cluster://:hunter2@a", "is a URL of Redis Cluster, which is not supported"),
        ("redis-cluster://a,b", "Redis Cluster"),
        ("redis://:hunter2@a:26379,b:26379/0", "names several hosts"),
        ("redis://:hunter2@a,b", "names several hosts"),
        ("redis:///0", "has no host"),
        ("redis://:hunt/er2@redis", "is not a URL"),
        ("redis://:hunter2#@redis", "fragment"),
        ("redis://redis:99999", "is not a URL"),
        ("redis://redis:hunter2", "is not a URL"),
        ("redis://redis:0", "port 0"),
        ("redis://[hunter2", "is not a URL"),
        ("redis://redis/hunter2", "has a path that is not the number of a database"),
        ("redis://redis/0/1", "has a path"),
        ("unix://", "has no path"),
        ("unix://host/path", "has no path"),
        ("redis://redis?socket_timeout=5", "has an option `socket_timeout`; accepted for redis://: db"),
        ("redis://redis?ssl_ca_certs=/etc/ca.pem", "has an option `ssl_ca_certs`"),
        ("redis://redis?decode_responses=true", "has an option `decode_responses`"),
        ("redis://redis?hunter2-and-more=1", "has an option that is not a name"),
        ("redis://redis?db=hunter2", "has an invalid value of the option `db`"),
        ("rediss://redis?ssl_cert_reqs=hunter2", "accepted: none, optional, required"),
        ("rediss://redis?ssl_check_hostname=hunter2", "accepted: true, false"),
    ],
)
def test_invalid_urls_are_refused_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as raised:
        check_redis_url(Secret(url))
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


@given(
    st.text(max_size=60)
    | st.from_regex(r"(redis|rediss|unix)://[a-z0-9:@/?=&#%,\[\].-]{0,40}", fullmatch=True)
)
def test_an_accepted_url_is_one_of_the_client(url: str) -> None:
    try:
        check_redis_url(Secret(url))
    except ValueError:
        return
    assert parse_url(url)
