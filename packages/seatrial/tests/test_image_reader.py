"""Images in all formats, and the merging of layers."""

import gzip
import json
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from backports import zstd
from seatrial._image.errors import ImageError
from seatrial._image.model import Image
from seatrial._image.read import read_image

from .images import (
    EXAMPLE,
    Build,
    Member,
    digest,
    directory,
    docker_files,
    hard_link,
    layer,
    link,
    oci_files,
    pack,
    program,
    write_archive,
    write_directory,
)


def read_layers(folder: Path, *layers: list[Member]) -> Image:
    build = Build({}, [("", members) for members in layers])
    return read_image(write_archive(folder / "image.tar", docker_files(build)))


def files_of(image: Image) -> set[str]:
    return {path for path, file in image.tree.walk() if file.kind != "directory"}


def linked(files: dict[str, bytes]) -> dict[str, bytes | str]:
    """Return an archive in which a layer is a link, as Docker before version 25 writes shared layers."""
    name = next(name for name in files if name.endswith("layer.tar"))
    target = "another/layer.tar"
    return files | {target: files[name], name: f"../{target}"}


def frames(data: bytes) -> bytes:
    return gzip.compress(data[:700]) + gzip.compress(data[700:]) + bytes(1024)


Format = Callable[[Path], str]


def written(files: Mapping[str, bytes | str], compress: Callable[[bytes], bytes] = bytes) -> Format:
    def write(folder: Path) -> str:
        path = folder / "image.tar"
        path.write_bytes(compress(pack(files)))
        return str(path)

    return write


FORMATS: dict[str, Format] = {
    "docker": written(docker_files(EXAMPLE)),
    "docker with links": written(linked(docker_files(EXAMPLE))),
    "docker.gz": written(docker_files(EXAMPLE), gzip.compress),
    "docker.zst": written(docker_files(EXAMPLE), zstd.compress),
    "oci": written(oci_files(EXAMPLE)),
    "oci directory": lambda folder: write_directory(folder / "layout", oci_files(EXAMPLE)),
    "oci zstd": written(oci_files(EXAMPLE, compress=zstd.compress)),
    "oci of several frames": written(oci_files(EXAMPLE, compress=frames)),
    "oci uncompressed": written(oci_files(EXAMPLE, compress=bytes)),
    "docker and oci": written(docker_files(EXAMPLE) | oci_files(EXAMPLE)),
}


@pytest.mark.parametrize("layout", FORMATS)
def test_every_format_has_the_same_image(layout: str, tmp_path: Path) -> None:
    image = read_image(FORMATS[layout](tmp_path))
    assert image.digest == digest(EXAMPLE.configuration())
    assert image.platform == "linux/amd64"
    assert image.config.user == "65532:65532"
    assert image.config.environment == {"A": "b=c"}
    assert image.config.arguments == ("/app/run",)
    assert [each.created_by for each in image.layers] == ["ADD base", "COPY app"]
    assert [each.digest for each in image.layers] == [digest(each) for each in EXAMPLE.archives()]
    assert [each.file_bytes for each in image.layers] == [4, 4]
    assert files_of(image) == {"etc/passwd", "app/run"}
    run = image.tree.find("/app/run")
    assert run is not None
    assert (run.layer, run.mode, run.head, run.is_program) == (1, 0o755, b"\x7fELF", True)


def test_an_attestation_belongs_to_its_image(tmp_path: Path) -> None:
    files = oci_files(Build({}, [("", [Member("a")])], attestation="https://spdx.dev/Document"))
    assert read_image(write_archive(tmp_path / "image.tar", files)).attestations == (
        "https://spdx.dev/Document",
    )


def test_of_several_platforms_that_of_the_machine_is_read(tmp_path: Path) -> None:
    arm = oci_files(EXAMPLE.with_config(User="1"), architecture="arm64")
    intel = oci_files(EXAMPLE, architecture="amd64")
    manifests = [json.loads(files["index.json"])["manifests"][0] for files in (arm, intel)]
    index = json.dumps({"manifests": manifests}).encode()
    path = write_archive(tmp_path / "image.tar", arm | intel | {"index.json": index})
    machine = subprocess.run(["uname", "-m"], check=True, capture_output=True, text=True).stdout.strip()
    assert read_image(path).config.user == ("1" if machine == "aarch64" else "65532:65532")


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_large_numbers_and_capabilities_are_read(tar_format: int, tmp_path: Path) -> None:
    long = "/".join(["directory"] * 20) + "/é"
    archive = layer(
        [
            Member(long, b"x"),
            link("link", long),
            Member("ping", pax={"SCHILY.xattr.security.capability": "x"}),
        ],
        tar_format=tar_format,
    )
    build = Build({}, [("", [])])
    files = docker_files(build)
    config = build.configuration().replace(digest(build.archives()[0]).encode(), digest(archive).encode())
    manifest = json.dumps([{"Config": "config.json", "Layers": ["layer.tar"]}]).encode()
    files = {"config.json": config, "manifest.json": manifest, "layer.tar": archive}
    tree = read_image(write_archive(tmp_path / "image.tar", files)).tree
    found = tree.find("link")
    assert found is tree.find(long)
    assert found is not None
    assert found.size == 1
    ping = tree.find("ping")
    assert ping is not None
    assert ping.has_capabilities is (tar_format == tarfile.PAX_FORMAT)


@pytest.mark.parametrize(
    ("lower", "upper", "expected", "wasted"),
    [
        ([Member("a", b"123")], [Member(".wh.a")], set(), {"a": 3}),
        ([Member("a", b"123")], [Member("a", b"1")], {"a"}, {"a": 3}),
        ([Member("d/a", b"1"), Member("d/b/c", b"12")], [Member(".wh.d")], set(), {"d/a": 1, "d/b/c": 2}),
        ([Member("d/a", b"1")], [Member("d/b"), Member("d/.wh..wh..opq")], {"d/b"}, {"d/a": 1}),
        ([Member("d/a", b"1")], [Member("d/a", b"2"), Member("d/.wh.a")], {"d/a"}, {"d/a": 1}),
        ([Member("d/a", b"1")], [Member("d", b"2")], {"d"}, {"d/a": 1}),
        ([Member("d", b"1")], [directory("d"), Member("d/a")], {"d/a"}, {"d": 1}),
        ([Member("a")], [Member(".wh.b"), Member("x/.wh.y")], {"a"}, {}),
        # The parent of the upper file is a link of the lower layer.
        ([directory("usr/bin"), link("bin", "usr/bin")], [program("bin/sh")], {"bin", "usr/bin/sh"}, {}),
        ([link("bin", "/../usr/bin")], [program("bin/sh")], {"bin", "usr/bin/sh"}, {}),
        ([Member("a", b"123")], [hard_link("b", "a")], {"a", "b"}, {}),
        ([Member("./a"), Member("/b"), Member("c//d")], [], {"a", "b", "c/d"}, {}),
    ],
)
def test_layers_are_merged(
    lower: list[Member], upper: list[Member], expected: set[str], wasted: dict[str, int], tmp_path: Path
) -> None:
    image = read_layers(tmp_path, lower, upper)
    assert files_of(image) == expected
    assert image.tree.wasted == wasted


def test_a_hard_link_has_the_mode_of_its_target(tmp_path: Path) -> None:
    image = read_layers(tmp_path, [Member("su", b"1", mode=0o4755), hard_link("other", "su")])
    other = image.tree.find("other")
    assert other is not None
    assert (other.kind, other.mode) == ("file", 0o4755)


def test_an_image_of_another_system_is_refused(tmp_path: Path) -> None:
    files = {
        name: content.replace(b'"os": "linux"', b'"os": "windows"')
        for name, content in docker_files(EXAMPLE).items()
    }
    with pytest.raises(ImageError, match="is for windows"):
        read_image(write_archive(tmp_path / "image.tar", files))


def test_several_images_are_named(tmp_path: Path) -> None:
    first, second = docker_files(EXAMPLE), docker_files(EXAMPLE, name="shop:2.0")
    manifests = json.loads(first["manifest.json"]) + json.loads(second["manifest.json"])
    files = first | {"manifest.json": json.dumps(manifests).encode()}
    with pytest.raises(ImageError, match=r"has 2 images \(example/shop:1\.0, shop:2\.0\); save one"):
        read_image(write_archive(tmp_path / "image.tar", files))
