"""Rows about requests without a valid token."""

import base64
import hmac
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement, NotApplicable, Undecided, failed, passed
from .._target.exchange import Exchange
from .._target.service import Service
from .public_keys import find_keys, secrets_of

_PARTS = 3
_UNAUTHORIZED = 401


def _send(service: Service, credential: str | None) -> Exchange:
    headers = [("Authorization", credential)] if credential is not None else []
    return service.client.send("GET", service.protected_path, headers=headers)


def _check_found(service: Service, exchange: Exchange) -> None:
    if exchange.status == 404:
        raise Undecided(f"{service.protected_path} gets 404: set auth.protected_path in seatrial.toml.")
    if exchange.status == 429:
        raise Undecided("A rate limit refused the request: wait, or set auth.protected_path.")


def _refused(service: Service, credentials: Sequence[tuple[str, str | None]]) -> Judgement:
    """Judge whether each credential gets 401."""
    for name, credential in credentials:
        exchange = _send(service, credential)
        _check_found(service, exchange)
        if exchange.status != _UNAUTHORIZED:
            return failed(
                f"{name}: {exchange.status or 'no response'} instead of 401.", exchange.evidence(name)
            )
    return passed(f"{', '.join(name for name, _ in credentials)}: 401.", exchange.evidence(name))


def _required(service: Service) -> Judgement:
    return _refused(service, [("No credential", None)])


def _challenge(service: Service) -> Judgement:
    exchange = _send(service, None)
    if exchange.status != _UNAUTHORIZED:
        raise Undecided(f"{service.protected_path} gets {exchange.status}, not 401: see auth-required.")
    challenge = exchange.responses[0].get("www-authenticate")
    evidence = exchange.evidence("401")
    if not challenge:
        return failed("401 lacks `WWW-Authenticate`.", evidence)
    return passed(f"401 has `WWW-Authenticate: {challenge[:60]}`.", evidence)


def _garbage(service: Service) -> Judgement:
    scheme = service.config.auth.scheme
    return _refused(
        service,
        [
            ("A random token", f"{scheme} seatrial"),
            ("An empty token", f"{scheme} "),
            ("A token of dots", f"{scheme} .."),
            ("Bytes that are not ASCII", f"{scheme} \xff\xfe"),
            ("A token of 5000 characters", f"{scheme} {'A' * 5000}"),
            ("A scheme without a token", scheme),
            ("Another scheme", "Basic c2VhdHJpYWw6c2VhdHJpYWw="),
        ],
    )


def _valid(service: Service) -> tuple[str, str, str]:
    """Return the parts of the configured token, after it was accepted."""
    if service.token is None:
        raise Undecided("A valid token is needed: set auth.token_command, auth.token_file or auth.token.")
    parts = service.token.split(".")
    if len(parts) != _PARTS or not isinstance(_decoded(parts[0]), dict):
        raise NotApplicable("The token is not a JSON Web Token.")
    exchange = _send(service, f"{service.config.auth.scheme} {service.token}")
    if exchange.status in {_UNAUTHORIZED, 403, None}:
        raise Undecided(f"The configured token gets {exchange.status}: renew it, or set auth.protected_path.")
    return parts[0], parts[1], parts[2]


def _decoded(part: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None


def _encoded(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _none(service: Service) -> Judgement:
    header, payload, signature = _valid(service)
    scheme = service.config.auth.scheme
    known = _decoded(header)
    variants = [
        (f"alg {name!r}, signature {kind}", f"{scheme} {_encoded({**known, 'alg': name})}.{payload}.{end}")
        for name in ("none", "None", "NONE", "")
        for kind, end in (("removed", ""), ("kept", signature))
    ]
    return _refused(service, variants)


def _confused(service: Service) -> Judgement:
    header, payload, _ = _valid(service)
    scheme = service.config.auth.scheme
    known = _decoded(header)
    if str(known.get("alg", "")).startswith("HS"):
        raise NotApplicable("The token is signed with a shared secret, and has no public key.")
    forged = _encoded({**known, "alg": "HS256"})
    variants = []
    for key in find_keys(service):
        for name, secret in secrets_of(key):
            digest = hmac.digest(secret, f"{forged}.{payload}".encode(), "sha256")
            signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            variants.append(
                (f"HS256 with the public key as {name}", f"{scheme} {forged}.{payload}.{signature}")
            )
    if not variants:
        raise Undecided("No public key of the issuer was found: set auth.jwks_path in seatrial.toml.")
    return _refused(service, variants)


def _tampered(service: Service) -> Judgement:
    header, payload, signature = _valid(service)
    scheme = service.config.auth.scheme
    claims = _decoded(payload)
    if not isinstance(claims, dict):
        raise NotApplicable("The claims of the token are not readable.")
    first = "B" if signature[:1] == "A" else "A"
    later = {**claims, "exp": int(claims.get("exp", 0)) + 3600}
    return _refused(
        service,
        [
            ("A changed signature", f"{scheme} {header}.{payload}.{first}{signature[1:]}"),
            ("A removed signature", f"{scheme} {header}.{payload}."),
            ("Another subject", f"{scheme} {header}.{_encoded({**claims, 'sub': 'seatrial'})}.{signature}"),
            ("A later expiry", f"{scheme} {header}.{_encoded(later)}.{signature}"),
        ],
    )


def _configured(key: str, name: str, service: Service) -> Judgement:
    token = getattr(service.config.auth, key)
    if not token:
        raise Undecided(f"Such a token cannot be made without the key of the issuer: set auth.{key}.")
    return _refused(service, [(name, f"{service.config.auth.scheme} {token}")])


def _no_query(service: Service) -> Judgement:
    if service.token is None:
        raise Undecided("A valid token is needed: set auth.token_command, auth.token_file or auth.token.")
    separator = "&" if "?" in service.protected_path else "?"
    for name in ("access_token", "token"):
        path = f"{service.protected_path}{separator}{name}={service.token}"
        exchange = service.client.send("GET", path)
        _check_found(service, exchange)
        if exchange.status != _UNAUTHORIZED:
            return failed(f"A token in the query ({name}) gets {exchange.status}.", exchange.evidence(name))
    return passed("A token in the query gets 401.")


_row = partial(Row[Service], category=Category.AUTH, command="check", is_attack=True)
_RFC_8725 = "RFC 8725, section {0}; https://www.rfc-editor.org/rfc/rfc8725#section-{0}"
_FIX = "Verify tokens by a library, with the algorithms, issuer and audience listed explicitly."
_PYJWT = (
    Remedy("FastAPI/uvicorn", "jwt.decode(token, key, algorithms=['RS256'], audience=..., issuer=...)"),
    Remedy("Litestar/Starkeel", "starkeel_auth.AuthPlugin"),
    Remedy("Fastify", "@fastify/jwt with verify: { algorithms: [...], allowedAud: ... }"),
)

ROWS = (
    _row(
        id="auth-required",
        title="A protected path refuses requests without a credential",
        severity=Severity.CRITICAL,
        is_attack=False,
        why="A route that lost its guard is public until a stranger finds it. "
        "No other test notices, as all of them send a token.",
        source="OWASP API Security Top 10 2023, API2: Broken Authentication",
        how="GET of `auth.protected_path`, or of a path that the OpenAPI document declares as protected, "
        "gets 401.",
        fix="Require authentication by default, and list the public routes.",
        judge=_required,
    ),
    _row(
        id="auth-challenge",
        title="401 has a challenge",
        severity=Severity.LOW,
        is_attack=False,
        why="The header is mandatory for 401. "
        "Clients read from it which scheme to use, and whether the token was the problem.",
        source="RFC 9110, section 11.6.1; https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1",
        how="The 401 of a protected path has `WWW-Authenticate`.",
        fix="WWW-Authenticate: Bearer",
        judge=_challenge,
    ),
    _row(
        id="auth-malformed-token",
        title="Malformed credentials get 401",
        severity=Severity.HIGH,
        why="Errors of decoding become a status 500 where only errors of signatures are expected. "
        "In the worst case, an exception skips the check.",
        source="OWASP API Security Top 10 2023, API2: Broken Authentication",
        how="Random, empty, very long and undecodable tokens and another scheme get 401.",
        fix=_FIX,
        judge=_garbage,
    ),
    _row(
        id="auth-alg-none",
        title="Tokens with the algorithm `none` get 401",
        severity=Severity.CRITICAL,
        why="A client that writes such a token chooses its user. "
        "Libraries have accepted it by default, also in other spellings.",
        source=_RFC_8725.format("3.1"),
        how="The configured token, with `alg` none in several spellings, with and without its signature, "
        "gets 401.",
        fix=_FIX,
        remedies=_PYJWT,
        judge=_none,
    ),
    _row(
        id="auth-key-confusion",
        title="Tokens signed with the public key as a secret get 401",
        severity=Severity.CRITICAL,
        why="The public key is known to everyone. "
        "A library that takes the algorithm from the token uses it as the secret of HMAC, and accepts any "
        "claim.",
        source=_RFC_8725.format("2.1"),
        how="The configured token with `alg` HS256, signed with each key of auth.jwks_path in the forms "
        "PEM, DER "
        "and raw, gets 401.",
        fix=_FIX,
        remedies=_PYJWT,
        judge=_confused,
    ),
    _row(
        id="auth-tampered-token",
        title="Tampered tokens get 401",
        severity=Severity.CRITICAL,
        why="A service that decodes without verification accepts every claim. "
        "Valid tokens work there as well, so that no test with one notices.",
        source=_RFC_8725.format("3.3"),
        how="The configured token with a changed signature, subject and expiry gets 401.",
        fix=_FIX,
        remedies=_PYJWT,
        judge=_tampered,
    ),
    _row(
        id="auth-expired-token",
        title="Expired tokens get 401",
        severity=Severity.HIGH,
        why="A token that leaks is usable until it expires. Without the check, that is forever.",
        source="RFC 7519, section 4.1.4; https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4",
        how="`auth.expired_token` gets 401.",
        fix=_FIX,
        remedies=_PYJWT,
        judge=partial(_configured, "expired_token", "An expired token"),
    ),
    _row(
        id="auth-foreign-audience",
        title="Tokens for another audience get 401",
        severity=Severity.HIGH,
        why="A token for a harmless service must not open another. "
        "Without the check, each service that receives tokens can use them everywhere.",
        source=_RFC_8725.format("3.9"),
        how="`auth.foreign_token` gets 401.",
        fix=_FIX,
        remedies=_PYJWT,
        judge=partial(_configured, "foreign_token", "A token for another audience"),
    ),
    _row(
        id="auth-no-token-in-query",
        title="Tokens in the query are not accepted",
        severity=Severity.MEDIUM,
        why="Queries are written to logs, histories and `Referer` headers. "
        "A token there is readable by many.",
        source="RFC 9700, section 4.3.2; https://www.rfc-editor.org/rfc/rfc9700#section-4.3.2",
        how="The configured token as `access_token` or `token` in the query of the protected path gets 401.",
        fix="Read tokens from the `Authorization` header only.",
        judge=_no_query,
    ),
)
