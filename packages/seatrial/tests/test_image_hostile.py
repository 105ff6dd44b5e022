"""Archives of images that are damaged or hostile."""

import gzip
import json
import subprocess
import sys
import tarfile
import zlib
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seatrial._image.errors import ImageError
from seatrial._image.read import read_image

from .images import (
    EXAMPLE,
    Member,
    docker_files,
    hard_link,
    layer,
    link,
    oci_files,
    pack,
    write_archive,
    write_directory,
)
from .test_image_reader import read_layers


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([Member("../../etc/passwd")], "contains `..`"),
        ([Member("a/../../b")], "contains `..`"),
        ([hard_link("a", "../../etc/shadow")], "contains `..`"),
        ([hard_link("a", "missing")], "which is not a file"),
        ([link("a", "a"), Member("a/b")], "not a directory"),
        ([Member("a"), Member("a/b")], "not a directory"),
        ([Member("/".join("a" * 300))], "more than 256 directories"),
        ([Member("a" * 5000)], "more than 4096 characters"),
        ([link("a", "b" * 5000)], "more than 4096 characters"),
        ([Member("a", pax={"comment": "x" * (1 << 21)})], "an extended header has"),
        ([Member("a", kind=tarfile.GNUTYPE_SPARSE)], "type that is not supported"),
        ([Member("a", pax={"size": "²"})], "size of an entry"),
        ([Member("a", pax={"size": "9" * 5000})], "size of an entry"),
        ([Member("a", pax={"GNU.sparse.major": "1"})], "type that is not supported"),
    ],
)
def test_a_hostile_layer_is_refused(members: list[Member], problem: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=problem):
        read_layers(tmp_path, members)


def test_a_size_larger_than_the_archive_is_refused(tmp_path: Path) -> None:
    header = bytearray(layer([Member("a")])[:512])
    for size in (
        b"\x80" + (1 << 60).to_bytes(11, "big"),
        b"77777777777\0",
        b"\xff" * 12,
        b"nonsense\0\0\0\0",
    ):
        header[124:136] = size
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
        path = tmp_path / "image.tar"
        path.write_bytes(bytes(header) + bytes(1024))
        with pytest.raises(ImageError, match=r"cut off|size of an entry"):
            read_image(str(path))


def test_a_layer_with_another_digest_is_refused(tmp_path: Path) -> None:
    files = docker_files(EXAMPLE)
    name = next(name for name in files if name.endswith("layer.tar"))
    with pytest.raises(ImageError, match="layer 1 has not the digest"):
        read_image(write_archive(tmp_path / "image.tar", files | {name: layer([Member("other")])}))


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_an_incomplete_archive_is_refused(layout: str, tmp_path: Path) -> None:
    files = docker_files(EXAMPLE) if layout == "docker" else oci_files(EXAMPLE)
    for missing in files.keys() - {"oci-layout"}:
        rest = {name: content for name, content in files.items() if name != missing}
        with pytest.raises(ImageError):
            read_image(write_archive(tmp_path / "image.tar", rest))


def test_a_layout_whose_files_lead_out_of_it_is_refused(tmp_path: Path) -> None:
    files = oci_files(EXAMPLE)
    path = write_directory(tmp_path / "layout", files)
    blob = next(name for name, content in files.items() if content.startswith(b"\x1f\x8b"))
    outside = tmp_path / "outside"
    (tmp_path / "layout" / blob).rename(outside)
    (tmp_path / "layout" / blob).symlink_to(outside)
    with pytest.raises(ImageError, match="leads out of the directory"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not an image"),
        (b"not an archive" * 100, "is it a tar archive"),
        (pack({"a": b""}), "is not an image"),
        (pack({"manifest.json": b"["}), "not valid JSON"),
        (pack({"manifest.json": b"[" * 100_000}), "not valid JSON"),
        (pack({"manifest.json": b"{}"}), "must be a list"),
        (pack({"manifest.json": b"[]"}), "has 0 images"),
        (pack({"manifest.json": b"[{}, {}]"}), "has 2 images"),
        (pack({"manifest.json": b'[{"Config": "../../etc/passwd"}]'}), "is missing"),
        (pack({"index.json": b'{"manifests": [{"digest": "../../etc/passwd"}]}'}), "is not `sha256:`"),
        (pack({"index.json": b'{"manifests": 1}'}), "must be a list"),
        (gzip.compress(b"x" * 5000, mtime=0)[:-20], "cut off|cannot be decompressed"),
        (gzip.compress(b"x" * 5000, mtime=0)[:10] + b"\xff" * 50, "cannot be decompressed"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 50, "cannot be decompressed"),
    ],
)
def test_what_is_not_an_image_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=problem):
        read_image(str(path))


def test_a_decoder_that_needs_much_memory_is_refused(tmp_path: Path) -> None:
    options = {zstd.CompressionParameter.window_log: 27}
    compressor = zstd.ZstdCompressor(options=options)
    # Without the size of the content, the decoder must reserve the window.
    data = compressor.compress(bytes(1 << 20)) + compressor.flush()
    path = tmp_path / "image.tar"
    path.write_bytes(data)
    with pytest.raises(ImageError, match="cannot be decompressed"):
        read_image(str(path))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_a_damaged_archive_is_an_image_or_an_error(
    tmp_path: Path, changes: list[tuple[int, int]], is_oci: bool
) -> None:
    data = bytearray(pack(oci_files(EXAMPLE) if is_oci else docker_files(EXAMPLE)))
    for position, value in changes:
        data[position % len(data)] = value
    path = tmp_path / "image.tar"
    path.write_bytes(data)
    # Any other exception fails the test.
    with suppress(ImageError):
        assert read_image(str(path)).layers is not None


def test_a_large_layer_takes_little_memory(tmp_path: Path) -> None:
    """A gigabyte of zeros, in a megabyte, and 100,000 files."""
    zeros = 1 << 30
    info = tarfile.TarInfo("zeros")
    info.size = zeros
    tail = layer(Member(f"usr/lib/package-{n % 100}/module_{n}.py") for n in range(100_000))
    compressor = zlib.compressobj(1, wbits=31)
    uncompressed = sha256()
    path = tmp_path / "layer.gz"
    with path.open("wb") as file:
        for part in (info.tobuf(), *[bytes(1 << 20)] * (zeros >> 20), tail):
            uncompressed.update(part)
            file.write(compressor.compress(part))
        file.write(compressor.flush())
    config = {"rootfs": {"diff_ids": [f"sha256:{uncompressed.hexdigest()}"]}}
    manifest = [{"Config": "config.json", "Layers": ["layer"]}]
    files = {"config.json": json.dumps(config).encode(), "layer": path.read_bytes()}
    archive = write_archive(tmp_path / "image.tar", files | {"manifest.json": json.dumps(manifest).encode()})
    # The largest resident size of the process image itself; `ru_maxrss` includes that of the parent.
    script = (
        "import sys; from pathlib import Path; from seatrial._image.read import read_image;"
        "image = read_image(sys.argv[1]);"
        "peak = Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0];"
        "print(image.layers[0].files, image.file_bytes, peak)"
    )
    output = subprocess.run(
        [sys.executable, "-c", script, archive], check=True, capture_output=True, text=True
    ).stdout.split()
    assert output[:2] == ["100001", str(zeros)]
    assert int(output[2]) * 1024 < 150 << 20


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    assert read_layers(tmp_path, [link("a", "b"), link("b", "a")]).tree.find("a") is None
