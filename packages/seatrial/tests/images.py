"""Images for the tests, built by hand: layers as tar archives, in the formats of Docker and OCI."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Member:
    """An entry of a layer."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    target: str = ""
    pax: dict[str, str] = field(default_factory=dict)


def program(path: str, content: bytes = b"\x7fELF", mode: int = 0o755) -> Member:
    return Member(path, content, mode)


def link(path: str, target: str) -> Member:
    return Member(path, mode=0o777, kind=tarfile.SYMTYPE, target=target)


def hard_link(path: str, target: str) -> Member:
    return Member(path, kind=tarfile.LNKTYPE, target=target)


def directory(path: str) -> Member:
    return Member(path, mode=0o755, kind=tarfile.DIRTYPE)


def layer(members: Iterable[Member], *, tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        for member in members:
            info = tarfile.TarInfo(member.path)
            info.type, info.mode, info.linkname = member.kind, member.mode, member.target
            info.size, info.pax_headers = len(member.content), member.pax
            archive.addfile(info, io.BytesIO(member.content))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Build:
    """An image to write.

    Attributes:
        config: What a Dockerfile sets: `User`, `Entrypoint` and so on.
        layers: Layers with the command that made each.
        steps: Commands of the build that made no layer.
    """

    config: dict[str, Any]
    layers: Sequence[tuple[str, Sequence[Member]]]
    steps: Sequence[str] = ()
    attestation: str = ""

    def with_config(self, **values: Any) -> "Build":
        return replace(self, config=self.config | values)

    def with_layer(self, *members: Member, command: str = "COPY") -> "Build":
        return replace(self, layers=[*self.layers, (command, members)])

    def archives(self) -> list[bytes]:
        return [layer(members) for _, members in self.layers]

    def configuration(self) -> bytes:
        history = [{"created_by": command} for command, _ in self.layers]
        history += [{"created_by": step, "empty_layer": True} for step in self.steps]
        return json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": self.config,
                "rootfs": {"type": "layers", "diff_ids": [digest(each) for each in self.archives()]},
                "history": history,
            }
        ).encode()


def pack(files: Mapping[str, bytes | str]) -> bytes:
    """Return an archive; a string is the target of a link."""
    return layer(
        link(path, content) if isinstance(content, str) else Member(path, content)
        for path, content in files.items()
    )


def docker_files(build: Build, *, name: str = "example/shop:1.0") -> dict[str, bytes]:
    """Return the files of an archive as `docker save` writes them."""
    layers = {f"{digest(each)[7:]}/layer.tar": each for each in build.archives()}
    config = build.configuration()
    manifest = [{"Config": f"{digest(config)[7:]}.json", "RepoTags": [name], "Layers": list(layers)}]
    # The list of layers is at the end, as Docker writes it.
    return layers | {manifest[0]["Config"]: config, "manifest.json": json.dumps(manifest).encode()}


def oci_files(
    build: Build, *, compress: Any = gzip.compress, architecture: str = "amd64"
) -> dict[str, bytes]:
    """Return the files of an OCI layout."""
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, **descriptor: Any) -> dict[str, Any]:
        blobs[f"blobs/sha256/{digest(data)[7:]}"] = data
        return {"digest": digest(data), "size": len(data), **descriptor}

    def manifest(config: dict[str, Any], layers: list[dict[str, Any]]) -> bytes:
        return json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()

    layers = [blob(compress(each)) for each in build.archives()]
    platform = {"os": "linux", "architecture": architecture}
    image = blob(manifest(blob(build.configuration()), layers), platform=platform)
    manifests = [image]
    if build.attestation:
        statement = blob(b"{}", annotations={"in-toto.io/predicate-type": build.attestation})
        annotations = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image["digest"],
        }
        manifests.append(blob(manifest(blob(b"{}"), [statement]), annotations=annotations))
    index = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    return {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index, **blobs}


def write_archive(path: Path, files: Mapping[str, bytes | str]) -> str:
    path.write_bytes(pack(files))
    return str(path)


def write_directory(path: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return str(path)


EXAMPLE = Build(
    {"User": "65532:65532", "Entrypoint": ["/app/run"], "Env": ["A=b=c"], "StopSignal": "SIGTERM"},
    [("ADD base", [directory("etc/"), Member("etc/passwd", b"root")]), ("COPY app", [program("app/run")])],
    steps=["ENV A=b=c"],
)
