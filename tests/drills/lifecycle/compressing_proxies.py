"""Proxies that compress JSON, each with the configuration that its documentation suggests."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
from starkeel_testing import wait_until

from ...support.programs import find_program, free_port

_NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    gzip on;
    gzip_types application/json;
    gzip_min_length 1;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{service}; }}
    }}
}}
"""
_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:{port}
    default_backend service
backend service
    compression algo gzip
    compression type application/json
    server a 127.0.0.1:{service}
"""
_APACHE = """
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {directory}/apache.pid
ErrorLog /dev/stderr
Mutex file:{directory}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule filter_module /usr/lib/apache2/modules/mod_filter.so
LoadModule deflate_module /usr/lib/apache2/modules/mod_deflate.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
AddOutputFilterByType DEFLATE application/json
ProxyPass / http://127.0.0.1:{service}/
"""


class Proxy(NamedTuple):
    """A proxy, and the tag that a client receives of a response with the tag `"1"` and `no-transform`."""

    command: Callable[[Path], list[str | Path]]
    configuration: str
    tag: str


def _nginx(file: Path) -> list[str | Path]:
    return [find_program("nginx", package="nginx-light"), "-c", file]


def _haproxy(file: Path) -> list[str | Path]:
    return [find_program("haproxy", package="haproxy"), "-f", file, "-db"]


def _apache(file: Path) -> list[str | Path]:
    return [find_program("apache2", "httpd", package="apache2-bin"), "-DFOREGROUND", "-f", file]


PROXIES = {
    "nginx": Proxy(_nginx, _NGINX, 'W/"1"'),
    "HAProxy": Proxy(_haproxy, _HAPROXY, '"1"'),
    "Apache": Proxy(_apache, _APACHE, '"1-gzip"'),
}


@contextmanager
def proxying(proxy: Proxy, service_url: str, directory: Path) -> Iterator[str]:
    """Run a proxy in front of a service, and yield its URL."""
    port, service = free_port(), service_url.rpartition(":")[2]
    file = directory / "proxy.conf"
    file.write_text(proxy.configuration.format(directory=directory, port=port, service=service))
    with (directory / "proxy.log").open("w") as log:
        process = subprocess.Popen(proxy.command(file), stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _responds(url), timeout_s=30, what=lambda: (directory / "proxy.log").read_text())
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _responds(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/live", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False
