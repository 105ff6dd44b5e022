"""Rows about HTTPS."""

import contextlib
import re
import socket
import ssl
import time
import warnings
from functools import partial

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, NotApplicable, Undecided, failed, passed
from .._target.address import Address
from .._target.client import response_of
from .._target.service import Service

_MINIMUM_DAYS = 14
_MINIMUM_AGE_S = 15_768_000
_OLD = {"TLS 1.0": ssl.TLSVersion.TLSv1, "TLS 1.1": ssl.TLSVersion.TLSv1_1}


def _https(service: Service) -> Address:
    address = service.client.address
    if address.scheme != "https":
        raise NotApplicable("The URL is http://; check the address that clients use.")
    return address


def _connect(service: Service, context: ssl.SSLContext) -> ssl.SSLSocket:
    address = _https(service)
    connection = socket.create_connection((address.ip, address.port), timeout=service.client.timeout_s)
    try:
        return context.wrap_socket(connection, server_hostname=address.host)
    except BaseException:
        connection.close()
        raise


def _protocol(service: Service) -> Judgement:
    _https(service)
    lines = []
    for name, version in _OLD.items():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                context.set_ciphers("ALL:@SECLEVEL=0")
                context.minimum_version = context.maximum_version = version
            except (ssl.SSLError, ValueError) as error:
                raise Undecided(f"The OpenSSL of this machine cannot offer {name}.") from error
        try:
            with contextlib.closing(_connect(service, context)) as connection:
                return failed(f"{name} is accepted.", Evidence(name, str(connection.cipher())))
        except ssl.SSLError as error:
            if "NO_PROTOCOLS_AVAILABLE" in str(error) or "NO_CIPHERS" in str(error):
                raise Undecided(f"The OpenSSL of this machine cannot offer {name}.") from error
            lines.append(f"{name}: {error.reason}")
        except ConnectionResetError:
            lines.append(f"{name}: connection reset")
    return passed("TLS 1.0 and 1.1 are refused.", Evidence("handshakes", "\n".join(lines)))


def _verifying(service: Service) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=service.config.tls.ca_file or None)
    # `SSLKEYLOGFILE` would have the keys of connections written to a file.
    context.keylog_filename = None  # type: ignore[assignment]  # None disables it
    return context


def _certificate(service: Service) -> Judgement:
    address = _https(service)
    try:
        with contextlib.closing(_connect(service, _verifying(service))) as connection:
            return passed(f"The chain is valid for {address.host}, with {connection.version()}.")
    except ssl.SSLCertVerificationError as error:
        return failed(
            f"The certificate is not valid for {address.host}: {error.verify_message}.",
            Evidence("verification", str(error)),
        )


def _expiry(service: Service) -> Judgement:
    _https(service)
    try:
        with contextlib.closing(_connect(service, _verifying(service))) as connection:
            certificate = connection.getpeercert()
    except ssl.SSLCertVerificationError as error:
        if "expired" in error.verify_message:
            return failed("The certificate has expired.", Evidence("verification", str(error)))
        raise Undecided("The dates are read from verified certificates only: set tls.ca_file.") from error
    end = str((certificate or {}).get("notAfter", ""))
    days = (ssl.cert_time_to_seconds(end) - time.time()) / 86_400
    evidence = Evidence("certificate", f"valid until {end}")
    if days < _MINIMUM_DAYS:
        return failed(f"The certificate expires in {days:.0f} days.", evidence)
    return passed(f"The certificate expires in {days:.0f} days.", evidence)


def _hsts(service: Service) -> Judgement:
    _https(service)
    exchange = service.client.send("GET", service.readable_path)
    policy = response_of(exchange).get("strict-transport-security")
    match = re.search(r"max-age=\"?(\d+)", policy, re.IGNORECASE)
    evidence = exchange.evidence("response")
    if match is None or int(match[1]) < _MINIMUM_AGE_S:
        return failed(f"`Strict-Transport-Security` is {policy!r}.", evidence)
    return passed(f"`Strict-Transport-Security` is {policy!r}.", evidence)


def _plain(service: Service) -> Judgement:
    address = _https(service)
    port = service.config.tls.plain_port
    if port == 0:
        # A client that forgets the scheme reaches this one, which answers with TLS.
        service.client.get(service.readable_path)
        port = address.port
    elif port < 0 and address.port == 443:
        port = 80
    elif port < 0:
        raise Undecided("The port of plain HTTP is not known: set tls.plain_port in seatrial.toml.")
    head = f"GET {address.prefix}/ HTTP/1.1\r\nHost: {address.host}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((address.ip, port), timeout=service.client.timeout_s) as connection:
            connection.sendall(head.encode("latin-1"))
            received = connection.recv(65536)
    except ConnectionRefusedError:
        return passed(f"Port {port} is closed.")
    except (ConnectionResetError, BrokenPipeError):
        received = b""
    evidence = Evidence(f"port {port}", received.decode("utf-8", "backslashreplace")[:600])
    status = received[9:12].decode("latin-1")
    if re.search(rb"(?im)^location:\s*https://", received) and status in {"301", "302", "307", "308"}:
        return passed(f"Plain HTTP is redirected to https ({status}).", evidence)
    # Without TLS, the port of HTTPS answers with an alert.
    is_alert = received[:1] == b"\x15"
    if not received or is_alert or status in {"400", "403", "421", "426"}:
        return passed("Plain HTTP is refused.", evidence)
    return failed(f"Plain HTTP gets {status}.", evidence)


_row = partial(Row[Service], category=Category.TLS, command="check")

ROWS = (
    _row(
        id="tls-protocol",
        title="TLS 1.0 and 1.1 are refused",
        severity=Severity.HIGH,
        why="Both are deprecated and have known weaknesses. "
        "Audits fail for a service that accepts them, whether they are used or not.",
        source="RFC 8996; https://www.rfc-editor.org/rfc/rfc8996",
        how="Handshakes with each of them alone fail.",
        fix="Set the minimum version to TLS 1.2.",
        remedies=(Remedy("nginx", "ssl_protocols TLSv1.2 TLSv1.3;"),),
        judge=_protocol,
    ),
    _row(
        id="tls-certificate",
        title="The certificate is valid for the host",
        severity=Severity.CRITICAL,
        why="Clients that verify cannot connect, and clients that do not can be intercepted. "
        "A missing intermediate certificate fails only for some of them.",
        source="RFC 9110, section 4.3.4; https://www.rfc-editor.org/rfc/rfc9110#section-4.3.4",
        how="The chain is verified for the host of the URL, with the authorities of the system or "
        "tls.ca_file.",
        fix="Serve the certificate with all intermediate certificates, for all names of the service.",
        judge=_certificate,
    ),
    _row(
        id="tls-expiry",
        title=f"The certificate is valid for {_MINIMUM_DAYS} more days",
        severity=Severity.HIGH,
        why="An expired certificate is an outage of everything at once. "
        "Renewal that works happens earlier than two weeks before.",
        source="https://letsencrypt.org/docs/integration-guide/#when-to-renew",
        how="`notAfter` of the verified certificate is compared with the clock of this machine.",
        fix="Automate the renewal, and reload the certificate afterwards.",
        judge=_expiry,
    ),
    _row(
        id="tls-hsts",
        title="HTTPS responses have HSTS for half a year",
        severity=Severity.MEDIUM,
        why="Without it, the first request of a browser is plain HTTP and can be intercepted. "
        "A redirect comes too late.",
        source="RFC 6797; https://www.rfc-editor.org/rfc/rfc6797",
        how=f"`Strict-Transport-Security` has a max-age of at least {_MINIMUM_AGE_S} seconds.",
        fix="Strict-Transport-Security: max-age=31536000; includeSubDomains",
        judge=_hsts,
    ),
    _row(
        id="tls-plain-http",
        title="Plain HTTP is refused or redirected",
        severity=Severity.HIGH,
        why="A service that also answers without encryption is used that way by mistake. "
        "Tokens are then readable on the network.",
        source="OWASP Transport Layer Security Cheat Sheet",
        how="tls.plain_port (80 for HTTPS on 443; the port of HTTPS if it is 0) is closed, refuses, or "
        "redirects to https.",
        fix="Redirect to https, or close the port.",
        judge=_plain,
    ),
)
