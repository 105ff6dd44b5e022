"""Addresses, tokens and requests of other origins."""

import re
import socket
import subprocess
import sys

import httpx2

from .conftest import Running, Start
from .messages import PROTOBUF, span, traces


def test_a_name_that_leads_to_this_machine_is_refused(running: Running) -> None:
    response = running.client.get("/", headers={"Host": "rebound.example.com"})

    assert response.status_code == 403
    assert "open the URL that was printed" in response.text


def test_requests_of_pages_of_other_origins_are_refused(running: Running) -> None:
    for headers in (
        {"Origin": "http://evil.example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        for path in ("/v1/traces", "/services/orders", "/api-documents"):
            response = running.client.post(path, headers=headers)

            assert response.status_code == 403
            assert "another origin" in response.text


def test_a_service_that_is_not_controlled_is_not_restarted(running: Running) -> None:
    response = running.client.post("/services/orders", data={"action": "restart"})

    assert response.status_code == 404
    assert "cannot be restarted" in response.text


def test_every_response_forbids_scripts_of_the_page_itself(running: Running) -> None:
    for path in ("/", "/logs", "/static/dashboard.js", "/static/missing.js", "/missing"):
        policy = running.client.get(path).headers["content-security-policy"]

        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy


def test_beyond_loopback_everything_needs_the_token(start: Start) -> None:
    running = start("--host", "0.0.0.0")
    printed = running.log.read_text()
    token = re.findall(r"\?token=(\S+)", printed)[0]
    url = f"http://127.0.0.1:{running.url.rpartition(':')[2]}"

    with httpx2.Client(base_url=url, trust_env=False) as client:
        for path in ("/", "/data/logs", "/static/dashboard.js", "/?token=wrong", "/live"):
            assert client.get(path).status_code == 401
        headers = {"Content-Type": PROTOBUF}
        assert client.post("/v1/traces", content=traces(span(1)), headers=headers).status_code == 401
        first = client.get("/", params={"token": token})
        assert (first.status_code, first.headers["location"]) == (303, "/")
        assert "HttpOnly; SameSite=Strict" in first.headers["set-cookie"]
        assert client.get("/").status_code == 200
        client.cookies.clear()
        headers["Authorization"] = f"Bearer {token}"
        assert client.post("/v1/traces", content=traces(span(1)), headers=headers).status_code == 200
    assert f"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20{token}" in printed


def test_a_taken_port_is_reported_with_a_solution() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "starkeel_dashboard", "--port", str(port)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 69
    assert f"port {port}: Address already in use" in done.stderr
    assert "--port 4319" in done.stderr


def test_wrong_options_are_reported() -> None:
    for options, problem in (
        (["--service", "orders"], "expected NAME=URL"),
        (["--service", "orders=ftp://x"], "is no URL"),
        (["--span-megabytes", "0"], "span_bytes"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "starkeel_dashboard", *options],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

        assert done.returncode == 64
        assert problem in done.stderr
