"""Rows about compose files."""

from collections.abc import Callable
from typing import Final

from .._manifests import stack
from .._manifests.compose import Stack
from .._manifests.subject import ManifestsSubject
from .._rows.row import Category, Row, Severity
from .._rows.verdict import Judgement
from .._static.findings import Findings, judged

_COMPOSE = "https://docs.docker.com/reference/compose-file"
_ABSENT = "There is no service of a compose file that the row is about."


def _of_stack(add: Callable[[Stack, Findings], None]) -> Callable[[ManifestsSubject], Judgement]:
    return judged(lambda subject, findings: add(subject.stack, findings), absent=_ABSENT)


def _stop_grace_period(subject: ManifestsSubject, findings: Findings) -> None:
    stack.stop_grace_period(subject.stack, findings, stop_s=subject.stop_s)


ROWS: Final[tuple[Row[ManifestsSubject], ...]] = (
    Row(
        id="manifests-compose-depends-on",
        title="Services wait for the health of their dependencies",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.MEDIUM,
        why="A started container may not accept connections yet; its clients fail and restart. "
        "`service_healthy` starts them when it does.",
        source="https://docs.docker.com/compose/how-tos/startup-order/",
        how="Each dependency has the condition service_healthy or service_completed_successfully, and a "
        "`healthcheck` in the first case.",
        fix="depends_on: {postgres: {condition: service_healthy}}",
        judge=_of_stack(stack.health_gated),
    ),
    Row(
        id="manifests-compose-limits",
        title="Services have limits for memory and CPU",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.MEDIUM,
        why="Without limits, one service takes the memory of all, and the kernel ends any of them. "
        "A loop in one service slows down the others.",
        source=f"{_COMPOSE}/deploy/#resources",
        how="Each service has `deploy.resources.limits` with memory and cpus, or `mem_limit` and `cpus`.",
        fix='deploy: {resources: {limits: {cpus: "1.0", memory: 512M}}}',
        judge=_of_stack(stack.limits),
    ),
    Row(
        id="manifests-compose-stop-grace-period",
        title="Services have the time that they need to stop",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.MEDIUM,
        why="Compose sends SIGKILL 10 seconds after the stop signal unless the file gives more. "
        "Requests that take longer are lost.",
        source=f"{_COMPOSE}/services/#stop_grace_period",
        how="Each service that is built here or publishes ports has `stop_grace_period`; for those that "
        "are built here, it is at least `stop_s`. Tasks that end are exempt.",
        fix="stop_grace_period: 30s",
        judge=judged(_stop_grace_period, absent=_ABSENT),
    ),
    Row(
        id="manifests-compose-passwords",
        title="The file contains no password, and no service a default one",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.CRITICAL,
        why="A password in the file is in version control, and the same for all that copy it. "
        "Scanners try the published passwords of images first.",
        source=f"{_COMPOSE}/secrets/",
        how="Variables, with defaults in place, are compared with names and forms of secrets; variables "
        "that permit access without a password are refused; images with a published one need a "
        "variable.",
        fix="secrets: with a file that is not in version control, and the _FILE variables of the image.",
        judge=_of_stack(stack.default_passwords),
    ),
    Row(
        id="manifests-compose-ports",
        title="Only what clients use is reachable from outside",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.HIGH,
        why="A published port listens on all interfaces, and Docker's rules precede those of a firewall. "
        "Services reach one another over the network without it.",
        source=f"{_COMPOSE}/services/#ports",
        how="A port is published on a loopback address, or by a service that is no data store and that "
        "no other service depends on.",
        fix='Remove `ports`, or bind to the machine: "127.0.0.1:5432:5432".',
        judge=_of_stack(stack.published_ports),
    ),
    Row(
        id="manifests-compose-image-tag",
        title="Images have a fixed version",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.MEDIUM,
        why="`latest` changes with the next pull, on one machine and not on another. "
        "A major version of a database that changes does not start on its old files.",
        source=f"{_COMPOSE}/services/#image",
        how="Each image that is not built here has a digest, or a tag other than `latest`, with "
        "defaults in place of variables.",
        fix="image: postgres:17.5",
        judge=_of_stack(stack.image_tags),
    ),
)
