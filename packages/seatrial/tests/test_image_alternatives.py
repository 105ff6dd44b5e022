"""Other ways to satisfy rows of images, and what rows leave undecided or do not apply to."""

from pathlib import Path

import pytest
from seatrial import Verdict

from .image_defects import IMAGE, configured, without_file
from .images import Build, Member, link, oci_files, program, write_archive
from .test_static_rows import of_image, write_image

PASS, UNKNOWN, ABSENT = Verdict.PASS, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE
STATIC = Build({"User": "1", "Entrypoint": ["/server"]}, [("COPY", [program("server")])])


def script(text: bytes) -> Build:
    return configured(Entrypoint=["/start.sh"]).with_layer(program("start.sh", text))


@pytest.mark.parametrize(
    ("row", "build", "verdict"),
    [
        ("image-user", configured(User="1"), PASS),
        # A library and a directory with such a name are no programs.
        ("image-shell", IMAGE.with_layer(Member("usr/share/bash", b"x"), link("bin/sh", "missing")), PASS),
        ("image-package-manager", IMAGE.with_layer(Member("var/lib/dpkg/status", b"x")), PASS),
        ("image-package-manager", IMAGE.with_layer(program("etc/cron.daily/dpkg")), PASS),
        # Inherited group of a directory.
        ("image-privileged-programs", IMAGE.with_layer(Member("var/mail", mode=0o2775, kind=b"5")), PASS),
        (
            "image-sbom",
            IMAGE.with_layer(Member("usr/local/share/app.spdx.json", b'{"spdxVersion": "SPDX-2.3"}')),
            PASS,
        ),
        ("image-healthcheck", configured(Healthcheck={"Test": ["NONE"]}), PASS),
        (
            "image-healthcheck",
            configured(Healthcheck={"Test": ["CMD-SHELL", "x"]}).with_layer(program("bin/sh")),
            PASS,
        ),
        ("image-stop-signal", configured(StopSignal=""), PASS),
        ("image-stop-signal", configured(StopSignal="SIGRTMIN+3"), PASS),
        ("image-stop-signal", configured(StopSignal="QUIT"), PASS),
        ("image-stop-signal", configured(StopSignal="15"), PASS),
        ("image-signal-delivery", configured(Entrypoint=["sh", "-c", "exec python3 -m shop"]), PASS),
        ("image-signal-delivery", script(b'#!/usr/bin/env bash\nset -e\nexec "$@"\n'), PASS),
        ("image-signal-delivery", script(b"#!/usr/bin/python3 -I\nimport shop\n"), PASS),
        ("image-signal-delivery", configured(Entrypoint=["tini", "-g", "--", "python3", "-m", "shop"]), PASS),
        ("image-signal-delivery", configured(Entrypoint=None, Cmd=None), UNKNOWN),
        # A single program has no dependencies that could be apart.
        ("image-dependency-layer", STATIC, ABSENT),
        # An installed application without dependencies.
        (
            "image-dependency-layer",
            Build(
                {"Cmd": ["shop"], "Env": ["PATH=/srv/bin"]},
                [
                    (
                        "RUN pip install",
                        [
                            Member("srv/lib/python3.13/site-packages/shop/__init__.py", b"x" * 100_000),
                            Member("srv/lib/python3.13/site-packages/shop-1.dist-info/METADATA", b"x" * 900),
                            program("srv/bin/shop"),
                        ],
                    )
                ],
            ),
            ABSENT,
        ),
        ("image-dependency-layer", configured(Entrypoint=["/bin/missing"]), UNKNOWN),
        (
            "image-dependency-layer",
            configured(Entrypoint=["bash"]).with_layer(program("usr/bin/bash")),
            UNKNOWN,
        ),
        (
            "image-dependency-layer",
            Build({"Cmd": ["java", "-jar", "/app.jar"]}, [("COPY", [Member("app.jar", b"x")])]),
            UNKNOWN,
        ),
        (
            "image-dependency-layer",
            Build(
                {"Cmd": ["uvicorn", "shop.main:app"], "WorkingDir": "/srv"},
                [
                    (
                        "RUN pip install",
                        [Member("usr/lib/python3.13/site-packages/web/__init__.py", b"x" * 100_000)],
                    ),
                    ("COPY", [Member("srv/shop/main.py", b"x")]),
                ],
            ),
            PASS,
        ),
        (
            "image-dependency-layer",
            Build(
                {"Cmd": ["sh", "-c", "exec node dist/main.js"], "WorkingDir": "/srv"},
                [
                    ("base", [Member("usr/lib/node_modules/npm/index.js", b"x" * 900_000)]),
                    ("RUN npm ci", [Member("srv/node_modules/a/index.js", b"x" * 100_000)]),
                    ("COPY", [Member("srv/dist/main.js", b"x")]),
                ],
            ),
            PASS,
        ),
    ],
)
def test_images(row: str, build: Build, verdict: Verdict, tmp_path: Path) -> None:
    judgement = of_image(write_image(build, tmp_path))[row]
    assert judgement.verdict is verdict, judgement


def test_an_attestation_is_an_inventory(tmp_path: Path) -> None:
    base = without_file("app/sbom.cdx.json")
    build = Build(base.config, base.layers, attestation="https://spdx.dev/Document")
    judgement = of_image(write_archive(tmp_path / "image.tar", oci_files(build)))["image-sbom"]
    assert judgement.reason == "SBOM: attestation https://spdx.dev/Document."
    provenance = Build(base.config, base.layers, attestation="https://slsa.dev/provenance/v1")
    found = of_image(write_archive(tmp_path / "image.tar", oci_files(provenance)))
    assert found["image-sbom"].verdict is Verdict.FAIL


def test_an_inventory_is_named(tmp_path: Path) -> None:
    assert of_image(write_image(IMAGE, tmp_path))["image-sbom"].reason == "SBOM: /app/sbom.cdx.json."
