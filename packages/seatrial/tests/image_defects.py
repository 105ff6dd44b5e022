"""Mutation table of the rows of images: each row with defects that turn it red.

The change is applied to what satisfies every row; the text must be in the evidence.
"""

from typing import Any, NamedTuple

from .images import Build, Member, directory, hard_link, link, program


class ImageDefect(NamedTuple):
    """A defective image, and what the evidence contains."""

    build: Build
    evidence: str


SBOM = b'{"bomFormat": "CycloneDX", "components": []}'
LABELS = {
    "org.opencontainers.image.source": "https://example.com/shop",
    "org.opencontainers.image.revision": "4f2a9c1",
    "org.opencontainers.image.version": "1.0",
}
IMAGE = Build(
    {
        "User": "65532:65532",
        "Env": ["PATH=/app/bin:/usr/bin", "DATABASE_PASSWORD_FILE=/run/secrets/password", "TOKEN_SECONDS=60"],
        "WorkingDir": "/app",
        "Entrypoint": ["python3", "-m", "shop"],
        "Healthcheck": {"Test": ["CMD", "/app/bin/shop", "health"]},
        "StopSignal": "SIGTERM",
        "Labels": LABELS,
    },
    [
        (
            "ADD base",
            [directory("usr/bin"), program("usr/bin/python3.13"), link("usr/bin/python3", "python3.13")],
        ),
        ("COPY dependencies", [Member("app/lib/python3.13/site-packages/web/__init__.py", b"x" * 100_000)]),
        (
            "COPY shop",
            [
                Member("app/lib/python3.13/site-packages/shop/__init__.py", b"x" * 100),
                program("app/bin/shop", b"#!/usr/bin/python3\nimport shop\n"),
                Member("app/sbom.cdx.json", SBOM),
                Member("app/.env.example", b"PASSWORD=\n"),
            ],
        ),
    ],
    steps=["RUN --mount=type=secret,id=npm npm ci --token $TOKEN", "ENV TOKEN_SECONDS=60"],
)


def configured(**values: Any) -> Build:
    return IMAGE.with_config(**values)


def with_variable(variable: str) -> Build:
    return IMAGE.with_config(Env=[*IMAGE.config["Env"], variable])


def with_step(step: str) -> Build:
    return Build(IMAGE.config, IMAGE.layers, [*IMAGE.steps, step])


def without_file(path: str) -> Build:
    folder, _, name = path.rpartition("/")
    return IMAGE.with_layer(Member(f"{folder}/.wh.{name}"))


SHELL = program("usr/bin/dash")
IMAGE_DEFECTS: dict[str, list[ImageDefect]] = {
    "image-user": [
        ImageDefect(configured(User=""), "runs as root"),
        ImageDefect(configured(User="root"), "runs as root"),
        ImageDefect(configured(User="0:0"), "runs as root"),
        ImageDefect(configured(User="00"), "which is root"),
        ImageDefect(configured(User="²"), "requires a number"),
        ImageDefect(configured(User="nonroot"), "requires a number"),
    ],
    "image-shell": [
        ImageDefect(IMAGE.with_layer(SHELL), "/usr/bin/dash"),
        ImageDefect(IMAGE.with_layer(SHELL, link("bin/sh", "../usr/bin/dash")), "/bin/sh"),
        ImageDefect(IMAGE.with_layer(program("busybox/busybox")), "/busybox/busybox"),
    ],
    "image-package-manager": [
        ImageDefect(IMAGE.with_layer(program("usr/bin/apt-get")), "/usr/bin/apt-get"),
        ImageDefect(IMAGE.with_layer(program("usr/local/bin/pip3.13")), "pip3.13"),
        ImageDefect(
            IMAGE.with_layer(Member("usr/lib/python3.13/site-packages/pip/__main__.py")), "pip/__main__.py"
        ),
        ImageDefect(
            IMAGE.with_layer(program("npm/cli.js"), link("usr/bin/npm", "../../npm/cli.js")), "/usr/bin/npm"
        ),
    ],
    "image-privileged-programs": [
        ImageDefect(IMAGE.with_layer(program("usr/bin/su", mode=0o4755)), "/usr/bin/su (setuid)"),
        ImageDefect(IMAGE.with_layer(program("usr/bin/wall", mode=0o2755)), "/usr/bin/wall (setgid)"),
        ImageDefect(
            IMAGE.with_layer(program("usr/bin/su", mode=0o4755), hard_link("app/x", "usr/bin/su")), "/app/x"
        ),
        ImageDefect(
            IMAGE.with_layer(
                Member("usr/bin/ping", b"x", 0o755, pax={"SCHILY.xattr.security.capability": "x"})
            ),
            "/usr/bin/ping (capabilities)",
        ),
    ],
    "image-secrets": [
        ImageDefect(with_variable("DATABASE_PASSWORD=hunter2"), "variable DATABASE_PASSWORD"),
        ImageDefect(with_variable("DATABASE_URL=postgresql://shop:hunter2@db/shop"), "a URL with a password"),
        ImageDefect(with_variable("KEY=AKIAABCDEFGHIJKLMNOP"), "an access key of AWS"),
        ImageDefect(
            with_step("RUN |1 NPM_TOKEN=hunter2 /bin/sh -c npm ci # buildkit"),
            "NPM_TOKEN: a secret, by its name",
        ),
        ImageDefect(with_step("/bin/sh -c #(nop)  ENV API_KEY=hunter2"), "history, step 6: API_KEY"),
        ImageDefect(with_step("RUN curl --password hunter2 https://example.com"), "password"),
        ImageDefect(with_step("RUN git clone https://me:hunter2@example.com/x"), "a URL with a password"),
        ImageDefect(with_step("RUN curl -H 'Authorization: Bearer hunter2hunter2' x"), "a bearer token"),
        ImageDefect(configured(Labels=LABELS | {"deploy.token": "hunter2"}), "label deploy.token"),
    ],
    "image-secret-files": [
        ImageDefect(IMAGE.with_layer(Member("app/.env", b"PASSWORD=hunter2")), "/app/.env"),
        ImageDefect(IMAGE.with_layer(Member("root/.ssh/id_ed25519", b"hunter2")), "/root/.ssh/id_ed25519"),
        ImageDefect(
            IMAGE.with_layer(Member("root/.npmrc", b"hunter2")).with_layer(Member("root/.wh..npmrc")),
            "/root/.npmrc (removed by a later layer)",
        ),
    ],
    "image-size": [ImageDefect(IMAGE.with_layer(Member("model.bin", bytes(3 << 20))), "more than 2 MiB")],
    "image-waste": [
        ImageDefect(
            IMAGE.with_layer(Member("cache.bin", bytes(6 << 20))).with_layer(Member(".wh.cache.bin")),
            "/cache.bin: 6.0 MiB",
        ),
        ImageDefect(
            IMAGE.with_layer(Member("app.bin", bytes(6 << 20))).with_layer(
                Member("app.bin", b"1" * (6 << 20))
            ),
            "/app.bin: 6.0 MiB",
        ),
    ],
    "image-sbom": [
        ImageDefect(without_file("app/sbom.cdx.json"), "no SBOM"),
        ImageDefect(IMAGE.with_layer(Member("app/sbom.cdx.json", b"{}")), "no SBOM"),
        ImageDefect(
            without_file("app/sbom.cdx.json").with_layer(Member("usr/lib/jetty/jetty-cyclonedx.json", SBOM)),
            "no SBOM",
        ),
        ImageDefect(
            without_file("app/sbom.cdx.json").with_layer(Member("a/x-1.dist-info/sboms/x.cdx.json", SBOM)),
            "no SBOM",
        ),
    ],
    "image-labels": [
        ImageDefect(configured(Labels={}), "no label org.opencontainers.image.revision"),
        ImageDefect(
            configured(Labels=LABELS | {"org.opencontainers.image.revision": "unknown"}), "is only 'unknown'"
        ),
    ],
    "image-healthcheck": [
        ImageDefect(configured(Healthcheck=None), "no `HEALTHCHECK`"),
        ImageDefect(configured(Healthcheck={"Test": ["CMD", "curl", "-f", "x"]}), "'curl', which is missing"),
        ImageDefect(configured(Healthcheck={"Test": ["CMD-SHELL", "shop health"]}), "there is none"),
    ],
    "image-stop-signal": [
        ImageDefect(configured(StopSignal="SIGKILL"), "no process can handle"),
        ImageDefect(configured(StopSignal="9"), "no process can handle"),
        ImageDefect(configured(StopSignal="9" * 5000), "is not a signal"),
        ImageDefect(configured(StopSignal="SIGSTPO"), "is not a signal"),
    ],
    "image-signal-delivery": [
        ImageDefect(
            configured(Entrypoint=["/bin/sh", "-c", "python3 -m shop"]),
            "a shell starts the service: 'python3",
        ),
        ImageDefect(
            configured(Entrypoint=["tini", "--", "bash", "-ec", "python3 -m shop"]), "a shell starts"
        ),
        ImageDefect(
            configured(Entrypoint=["/start.sh"]).with_layer(
                program("start.sh", b"#!/bin/sh -e\npython3 -m shop\n")
            ),
            "/start.sh starts the service without `exec`",
        ),
        ImageDefect(
            configured(Entrypoint=["bash", "/start.sh"]).with_layer(
                program("start.sh", b"#!/usr/bin/env bash\npython3 -m shop\n")
            ),
            "without `exec`",
        ),
        ImageDefect(configured(Entrypoint=["bash"]), "a shell without a script"),
        ImageDefect(configured(Entrypoint=["npm", "start"]), "`npm` starts the service as a child"),
        ImageDefect(configured(Entrypoint=["/app/bin/missing"]), "is missing or not executable"),
    ],
    "image-dependency-layer": [
        ImageDefect(
            Build(IMAGE.config, [IMAGE.layers[0], ("COPY", [*IMAGE.layers[1][1], *IMAGE.layers[2][1]])]),
            "the application is in layer 2, most of its dependencies (0.1 MiB) in layer 2",
        ),
        ImageDefect(
            Build(IMAGE.config, [IMAGE.layers[0], IMAGE.layers[2], IMAGE.layers[1]]),
            "in layer 2, most of its",
        ),
        ImageDefect(
            Build(
                {"Cmd": ["node", "server.js"], "WorkingDir": "/srv"},
                [
                    (
                        "RUN npm ci",
                        [
                            Member("srv/server.js", b"x"),
                            Member("srv/node_modules/a/index.js", b"x" * 100_000),
                        ],
                    )
                ],
            ),
            "in layer 1, most of its",
        ),
    ],
}
