"""Requests for other forms of a path and for other hosts, and requests that exceed a limit."""

from .http_cases import HANDSHAKE, ITEM, JSON, Case, get, request, sized

HOSTS = "127.0.0.1,sample,*.sample.example,sample.example:8443,[2001:db8::7]"
"""`ALLOWED_HOSTS` of the service."""

LIMITS = [
    # Further paths that proxies read differently
    Case("9110 4.2.3", get("/."), 400),
    Case("9110 4.2.3", get("/items/1/."), 400),
    Case("9110 4.2.3", get("/items/1/%2e"), 400),
    Case("9110 4.2.3", get("/items/./1"), 400),
    Case("9110 4.2.3", get("//"), 400),
    Case("9110 4.2.3", get("/names/a%252fb"), 200),
    Case("9110 4.2.3", get("/names/a%3Fb"), 200),
    Case("9110 4.2.3", get("/items/%31"), 200),
    Case("9110 4.2.3", get("/Names/a"), 404),
    Case("9110 4.2.3", get("/health/LIVE"), 404),
    Case("9110 4.2.3", get("/names/a/"), 404),
    Case("9110 4.2.3", get("/items/1?"), 200),
    # Allowed hosts
    *(
        Case("9110 7.4", get("/items/1", f"Host: {host}"), status)
        for host, status in {
            "SAMPLE": 200,
            "sample.": 200,
            "sample:81": 200,
            "a.sample.example": 200,
            "a.b.sample.example:99": 200,
            "sample.example": 421,
            "sample.example:8443": 200,
            "sample.example:844": 421,
            "xsample.example": 421,
            "other": 421,
            "sample.other": 421,
            "10.9.8.7:3000": 421,
            "[::1]": 421,
            "[2001:DB8:0::7]:3000": 200,
            "xn--caf-dma.sample.example": 200,
        }.items()
    ),
    Case("9110 7.4", get("/nowhere", "Host: other"), 421),
    Case("9110 7.4", get("/a/../items/1", "Host: other"), 421),
    Case("9110 7.4", request("DELETE", "/items/1", "Host: other"), 421),
    Case("9110 7.4", request("HEAD", "/items/1", "Host: other"), 421),
    Case("9110 7.4", request("OPTIONS", "*", "Host: other"), 421),
    Case("9110 7.4", sized("POST", "/items", JSON, "Host: other", body=ITEM), 421),
    Case("9110 7.4", get("/items/1", "Host: other", version="1.0"), 421, closes=True),
    Case("9110 7.4", get("/schema/openapi.json", "Host: other"), 421),
    Case("9110 7.4", get("/files/a", "Host: other"), 421),
    Case("9110 7.4", get("/socket", *HANDSHAKE, "Host: other"), 403, closes=None),
    *(
        Case("9110 7.4", get(f"/health/{name}", "Host: 10.9.8.7:3000"), 200)
        for name in ("live", "ready", "started")
    ),
    # Limits of targets and header fields
    Case("9110 15.5.15", get("/items/1?" + "a" * 8184), 200),
    Case("9110 15.5.15", get("/items/1?" + "a" * 8185), 414),
    Case("9110 15.5.15", get("/names/" + "a" * 8185), 200),
    Case("9110 15.5.15", get("/names/" + "a" * 8186), 414),
    Case("9110 15.5.15", get("/nowhere/" + "a" * 60_000), 414),
    Case("9110 15.5.15", sized("POST", "/items?" + "a" * 9000, JSON, body=ITEM), 414),
    Case("9110 15.5.15", get("/socket?" + "a" * 9000, *HANDSHAKE), 403, closes=None),
    Case("6585 5", get("/items/1", *(f"X-{n}: a" for n in range(62))), 200),
    Case("6585 5", get("/items/1", *(f"X-{n}: a" for n in range(63))), 431),
    Case("6585 5", get("/items/1", *["X: a"] * 63), 431),
    Case("6585 5", get("/items/1", "X: " + "a" * 32_600), 200),
    Case("6585 5", get("/items/1", "X: " + "a" * 33_000), 431),
    Case("6585 5", get("/items/1", "X" * 33_000 + ": a"), 431),
    Case("6585 5", get("/nowhere", *["X: a"] * 63), 431),
    Case("6585 5", request("HEAD", "/items/1", *["X: a"] * 63), 431),
    Case("6585 5", sized("POST", "/items", JSON, *["X: a"] * 63, body=ITEM), 431),
    Case("6585 5", get("/socket", *HANDSHAKE, *["X: a"] * 63), 403, closes=None),
]
