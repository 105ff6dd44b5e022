"""Rows of images and manifests: what satisfies them, and each defect of the mutation table."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from seatrial import Judgement, Row, Verdict
from seatrial._families import compose, image, kubernetes
from seatrial._image.read import read_image
from seatrial._image.subject import ImageSubject
from seatrial._manifests.subject import read_manifests

from .image_defects import IMAGE, IMAGE_DEFECTS, ImageDefect
from .images import Build, docker_files, write_archive
from .manifest_defects import COMPOSE_DEFECTS, KUBERNETES_DEFECTS, Defect
from .manifests import write_compose, write_kubernetes

STOP_S = 30.0
SECRET = "hunter2"


def of_image(path: str) -> dict[str, Judgement]:
    subject = ImageSubject(read_image(path), max_size_mib=2)
    return {row.id: row.judge(subject) for row in image.ROWS}


def of_manifests(path: str) -> dict[str, Judgement]:
    subject = read_manifests(path, stop_s=STOP_S)
    return {row.id: row.judge(subject) for row in (*kubernetes.ROWS, *compose.ROWS)}


def write_image(build: Build, folder: Path) -> str:
    return write_archive(folder / "image.tar", docker_files(build))


def each_defect(table: dict[str, list[Any]]) -> Iterable[object]:
    return [
        pytest.param(row, defect, id=f"{row}-{number}")
        for row, defects in table.items()
        for number, defect in enumerate(defects)
    ]


@pytest.mark.parametrize(
    ("table", "rows"),
    [(IMAGE_DEFECTS, image.ROWS), (KUBERNETES_DEFECTS, kubernetes.ROWS), (COMPOSE_DEFECTS, compose.ROWS)],
    ids=["image", "kubernetes", "compose"],
)
def test_the_table_is_complete(table: dict[str, list[Any]], rows: Sequence[Row[Any]]) -> None:
    assert list(table) == [row.id for row in rows]
    assert all(table.values())


def assert_passes(judgements: dict[str, Judgement], ids: Iterable[str]) -> None:
    for row in ids:
        assert judgements[row].verdict is Verdict.PASS, (row, judgements[row])


def assert_fails(judgement: Judgement, text: str) -> None:
    assert judgement.verdict is Verdict.FAIL, judgement
    assert judgement.evidence[0].title == "violated"
    assert text in judgement.evidence[0].text
    assert SECRET not in str(judgement)


def test_a_good_image_satisfies_every_row(tmp_path: Path) -> None:
    assert_passes(of_image(write_image(IMAGE, tmp_path)), IMAGE_DEFECTS)


def test_good_manifests_satisfy_every_row(tmp_path: Path) -> None:
    judgements = of_manifests(write_kubernetes(tmp_path))
    assert_passes(judgements, KUBERNETES_DEFECTS)
    assert {judgements[row].verdict for row in COMPOSE_DEFECTS} == {Verdict.NOT_APPLICABLE}


def test_a_good_compose_file_satisfies_every_row(tmp_path: Path) -> None:
    judgements = of_manifests(write_compose(tmp_path))
    assert_passes(judgements, COMPOSE_DEFECTS)
    assert {judgements[row].verdict for row in KUBERNETES_DEFECTS} == {Verdict.NOT_APPLICABLE}


@pytest.mark.parametrize(("row", "defect"), each_defect(IMAGE_DEFECTS))
def test_a_row_fails_on_a_defective_image(row: str, defect: ImageDefect, tmp_path: Path) -> None:
    assert_fails(of_image(write_image(defect.build, tmp_path))[row], defect.evidence)


@pytest.mark.parametrize(("row", "defect"), each_defect(KUBERNETES_DEFECTS))
def test_a_row_fails_on_defective_manifests(row: str, defect: Defect, tmp_path: Path) -> None:
    assert_fails(of_manifests(write_kubernetes(tmp_path, defect.change))[row], defect.evidence)


@pytest.mark.parametrize(("row", "defect"), each_defect(COMPOSE_DEFECTS))
def test_a_row_fails_on_a_defective_compose_file(row: str, defect: Defect, tmp_path: Path) -> None:
    assert_fails(of_manifests(write_compose(tmp_path, defect.change))[row], defect.evidence)
