"""Rows about images."""

from collections.abc import Callable
from typing import Final

from .._image import content, privileges, process, rebuild
from .._image.model import Image
from .._image.subject import ImageSubject
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement
from .._static.findings import Findings, judged

_DOCKERFILE = "https://docs.docker.com/reference/dockerfile/"
_BEST = "https://docs.docker.com/build/building/best-practices/"


def _of_image(add: Callable[[Image, Findings], None]) -> Callable[[ImageSubject], Judgement]:
    return judged(
        lambda subject, findings: add(subject.image, findings),
        absent="The image is a single program without directories of dependencies.",
    )


def _size(subject: ImageSubject, findings: Findings) -> None:
    content.size(subject.image, findings, limit_mib=subject.max_size_mib)


ROWS: Final[tuple[Row[ImageSubject], ...]] = (
    Row(
        id="image-user",
        title="The process runs as a numeric user other than root",
        category=Category.IMAGE,
        command="image",
        severity=Severity.HIGH,
        why="A process of root that leaves its container is root on the node. Kubernetes can verify "
        "that a user is not root only if the image states a number.",
        source="https://kubernetes.io/docs/concepts/security/pod-security-standards/",
        how="`User` of the image's configuration is a number greater than 0, with or without a group.",
        fix="USER 65532:65532",
        judge=_of_image(privileges.user),
    ),
    Row(
        id="image-shell",
        title="The image has no shell",
        category=Category.IMAGE,
        command="image",
        severity=Severity.MEDIUM,
        why="Most payloads that follow a remote code execution start a shell. An image without one "
        "leaves an intruder the language runtime only.",
        source="https://cheatsheetseries.owasp.org/cheatsheets/Docker_Security_Cheat_Sheet.html",
        how="No executable file, and no link to one, has the name of a shell.",
        fix="Copy the application into a distroless image; for debugging, kubectl debug adds a container.",
        judge=_of_image(privileges.shell),
    ),
    Row(
        id="image-package-manager",
        title="The image has no package manager",
        category=Category.IMAGE,
        command="image",
        severity=Severity.MEDIUM,
        why="A package manager installs an intruder's tools. It is needed during the build only, where "
        "another stage can run it.",
        source=_BEST,
        how="No executable file, and no link to one, has the name of a package manager of a "
        "distribution or language, and Python's pip is not installed.",
        fix="Install in one stage of the Dockerfile and copy the result into a stage that has none.",
        judge=_of_image(privileges.package_manager),
    ),
    Row(
        id="image-privileged-programs",
        title="No program gives privileges to the process that executes it",
        category=Category.IMAGE,
        command="image",
        severity=Severity.HIGH,
        why="A program with setuid runs as its owner, usually root, regardless of the user. "
        "A fault in one of them makes a process root in spite of `USER`.",
        source="https://www.cisecurity.org/benchmark/docker",
        how="No executable file has the bits setuid or setgid, or capabilities in its extended attributes.",
        fix="RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} +",
        judge=_of_image(privileges.privileged_programs),
    ),
    Row(
        id="image-secrets",
        title="No secret is in the variables, labels or history",
        category=Category.IMAGE,
        command="image",
        severity=Severity.CRITICAL,
        why="Variables, labels and the commands of the build are readable by every client that can pull "
        "the image. They stay in it for as long as any registry has a copy.",
        source="https://docs.docker.com/build/building/secrets/",
        how="Names of variables, labels, build arguments and options are compared with those of "
        "secrets, and values with the forms of keys and tokens; values are never printed.",
        fix="Revoke the secret. In builds, use RUN --mount=type=secret; at run time, give it to the "
        "container.",
        judge=_of_image(content.secrets),
    ),
    Row(
        id="image-secret-files",
        title="No file with secrets is in any layer",
        category=Category.IMAGE,
        command="image",
        severity=Severity.CRITICAL,
        why="A file that a later layer removes is still in the archive of its own layer. "
        "COPY of a whole directory takes `.env` and keys with it.",
        source="https://docs.docker.com/build/concepts/context/#dockerignore-files",
        how="No layer has a non-empty file with the usual name of a private key or of credentials.",
        fix="Add the file to .dockerignore, and revoke what it contains.",
        judge=_of_image(content.secret_files),
    ),
    Row(
        id="image-size",
        title="The size of the image is within its limit",
        category=Category.IMAGE,
        command="image",
        severity=Severity.LOW,
        why="A node pulls the image before a pod starts, which delays each scale-up on a new node. "
        "Every file is also one that vulnerabilities can be found in.",
        source=_BEST,
        how="The files of all layers, uncompressed, have at most `image.max_size_mib`; the evidence lists "
        "the layers.",
        fix="Use several stages and copy only what runs; or raise image.max_size_mib.",
        judge=judged(_size),
    ),
    Row(
        id="image-waste",
        title="Layers do not carry files that later layers remove",
        category=Category.IMAGE,
        command="image",
        severity=Severity.LOW,
        why="A removed file is still pulled and stored. Changing the owner of files in a layer of its "
        "own doubles their size.",
        source=_BEST,
        how="Removed and replaced files are at most 5 % of the image, or 5 MiB.",
        fix="Remove files in the same RUN that makes them; use COPY --chown and --chmod.",
        judge=_of_image(content.waste),
    ),
    Row(
        id="image-sbom",
        title="The image has a software bill of materials",
        category=Category.IMAGE,
        command="image",
        severity=Severity.MEDIUM,
        why="When a vulnerability is published, the inventory answers which images contain the "
        "component. A scanner has to guess what is compiled in or bundled.",
        source="https://docs.docker.com/build/metadata/attestations/sbom/",
        how="The image contains a document in CycloneDX or SPDX, or is stored with an attestation of "
        "one; an archive of `docker save` has no attestations.",
        fix="docker buildx build --sbom=true, or copy a document of your build into the image.",
        judge=_of_image(content.inventory),
    ),
    Row(
        id="image-labels",
        title="Labels lead from a running container to its source",
        category=Category.IMAGE,
        command="image",
        severity=Severity.LOW,
        why="During an incident, the revision of a running container has to be certain. "
        "A tag can be moved, a label of the image cannot.",
        source="https://github.com/opencontainers/image-spec/blob/main/annotations.md",
        how="`org.opencontainers.image.source`, `.revision` and `.version` are present and no placeholders.",
        fix='LABEL org.opencontainers.image.revision="${REVISION}", from a build argument.',
        judge=_of_image(content.labels),
    ),
    Row(
        id="image-healthcheck",
        title="The image has a health check, or states that it has none",
        category=Category.IMAGE,
        command="image",
        severity=Severity.LOW,
        why="Docker and Compose wait for the health of a container and report it. "
        "Without HEALTHCHECK, a container that hangs is running.",
        source=f"{_DOCKERFILE}#healthcheck",
        how="`HEALTHCHECK` starts a program that the image has, or is `NONE`.",
        fix='HEALTHCHECK CMD ["/app/bin/service", "health"]; for Kubernetes alone, HEALTHCHECK NONE.',
        judge=_of_image(process.healthcheck),
    ),
    Row(
        id="image-stop-signal",
        title="The stop signal can be handled",
        category=Category.IMAGE,
        command="image",
        severity=Severity.HIGH,
        why="The runtime sends this signal and kills the container after the grace period. "
        "A signal that no process can handle ends every request in flight.",
        source=f"{_DOCKERFILE}#stopsignal",
        how="`STOPSIGNAL` is absent, which is SIGTERM, or a signal of Linux other than SIGKILL and SIGSTOP.",
        fix="STOPSIGNAL SIGTERM",
        judge=_of_image(process.stop_signal),
    ),
    Row(
        id="image-signal-delivery",
        title="The stop signal reaches the service",
        category=Category.IMAGE,
        command="image",
        severity=Severity.HIGH,
        why="The first process of a container receives the signal. A shell or npm in front of the "
        "service does not forward it, so that the service is killed after the grace period.",
        source=f"{_DOCKERFILE}#shell-and-exec-form",
        how="The command line is in exec form and starts a program that exists; a script of a shell has "
        "`exec`.",
        fix='CMD ["python", "-m", "app"], and exec "$@" as the last line of an entry script.',
        remedies=(
            Remedy("FastAPI/uvicorn", 'CMD ["uvicorn", "app:app", "--host", "0.0.0.0"]'),
            Remedy("Fastify", 'CMD ["node", "server.js"] instead of npm start'),
        ),
        judge=_of_image(process.signal_delivery),
    ),
    Row(
        id="image-dependency-layer",
        title="Dependencies are in a layer below the application's",
        category=Category.IMAGE,
        command="image",
        severity=Severity.LOW,
        why="A change of code then ships a small layer, and registries and nodes keep the large one. "
        "Copying the sources before the dependencies are installed replaces both.",
        source="https://docs.docker.com/build/cache/optimize/",
        how="The files that `ENTRYPOINT` and `CMD` name are in a later layer than most bytes in "
        "directories of dependencies (site-packages, node_modules, vendor, BOOT-INF/lib).",
        fix="Copy the lock file and install; then copy the sources.",
        remedies=(
            Remedy("FastAPI/uvicorn", "uv sync --locked --no-install-project, COPY . ., uv sync --locked"),
            Remedy("Fastify", "COPY package*.json ./, RUN npm ci --omit=dev, COPY . ."),
        ),
        judge=_of_image(rebuild.dependency_layer),
    ),
)
