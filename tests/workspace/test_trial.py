"""`just trial`: its results, the tables made of them, and what makes it fail."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.wheels import run as run_command
from tools.generate import checklist
from tools.registry import ROOT
from tools.trial.peers import PEERS
from tools.trial.results import Results, RowResult, differences, read_results, results_of
from tools.trial.static_subjects import images
from tools.trial.subject import Subject, Trial, TrialError, merged, run, subject_keys, toml

RESULTS = read_results(ROOT / checklist.RESULTS)
JUDGED = ("check", "manifests")
POD = """
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec: {containers: [{name: shop, image: shop}]}
"""


def test_the_committed_results_are_of_the_present_catalogue() -> None:
    catalogue = json.loads(run_command([sys.executable, "-m", "seatrial", "rows", "--json"], cwd=ROOT))
    expected = {row["id"]: row["title"] for row in catalogue if row["command"] in JUDGED}
    assert {row.id: row.title for row in RESULTS.rows} == expected


def test_the_comparison_is_of_the_present_catalogue() -> None:
    peers = read_results(ROOT / checklist.COMPARISON)
    own = {row.id: row.title for row in RESULTS.rows if row.command == "check"}
    assert {row.id: row.title for row in peers.rows} == own
    assert all(row.verdicts.keys() == peers.versions.keys() for row in peers.rows)
    assert peers.versions.keys() == {peer.title for peer in PEERS}


def test_the_comparison_names_what_passes_elsewhere_only() -> None:
    def row(own: str, other: str) -> Results:
        verdicts = {"shop, production": own, "Other": other}
        fields = {
            "id": "edge-head",
            "title": "HEAD",
            "category": "edge",
            "severity": "low",
            "command": "check",
        }
        return Results([RowResult(**fields, verdicts=verdicts)], {"Other": "Other 1"})

    named = "- `edge-head` is fail on Starkeel, and passes on Other."
    assert named in checklist.comparison_tables(row("fail", "pass"), row("fail", "pass"))
    assert "No row passes on another stack" in checklist.comparison_tables(
        row("fail", "fail"), row("fail", "fail")
    )


def test_every_row_passes_where_it_applies() -> None:
    assert {row.id: row.worst for row in RESULTS.rows if row.worst != "pass"} == {}


def test_the_tables_of_the_documentation_are_current() -> None:
    for path, text in checklist.files(ROOT).items():
        assert path.read_text("utf-8") == text, f"{path}: run `uv run just checklist`"


def test_a_row_is_in_the_table_with_all_its_verdicts() -> None:
    line = next(
        line for line in checklist.verdict_tables(RESULTS).splitlines() if line.startswith("| `tls-hsts` |")
    )
    row = next(row for row in RESULTS.rows if row.id == "tls-hsts")
    assert line.count("pass") == list(row.verdicts.values()).count("pass") > 0
    assert line.count("n/a") == list(row.verdicts.values()).count("not applicable") > 0


@pytest.fixture
def failing(tmp_path: Path) -> Trial:
    (tmp_path / "pod.yaml").write_text(POD)
    return run(Subject(name="pod", keys={"manifests": {"path": str(tmp_path / "pod.yaml")}}), tmp_path)


def test_a_row_that_does_not_pass_is_a_problem(failing: Trial) -> None:
    [row] = [row for row in results_of([failing]).rows if row.id == "manifests-image-tag"]
    assert row.worst == "fail"
    assert "manifests-image-tag" in failing.text


def test_a_verdict_that_changed_is_listed(failing: Trial) -> None:
    after = results_of([failing])
    assert list(differences(after, after, ["pod"])) == []
    assert list(differences(RESULTS, after, ["pod"])) == ["pod: has no verdicts in the documentation yet"]
    before = Results([replace(row, verdicts={"pod": "pass"}) for row in after.rows])
    assert "manifests-image-tag, pod: pass -> fail" in list(differences(before, after, ["pod"]))
    assert "manifests-image-tag, pod: absent -> fail" in list(
        differences(Results(before.rows[:1]), after, ["pod"])
    )


def test_the_keys_of_a_subject_are_removed_after_the_run(failing: Trial) -> None:
    assert sorted(path.name for path in failing.folder.iterdir()) == [
        "report.html",
        "report.json",
        "report.terminal",
    ]


def test_an_image_needs_a_name_and_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"give it a name, as in --image orders=shop\.tar"):
        images(["shop.tar"])
    [subject] = images([f"shop={tmp_path}/absent.tar"])
    with pytest.raises(TrialError, match=r"image shop: .*absent\.tar"):
        run(subject, tmp_path)


_KEYS = st.from_regex(r"[a-z][a-z_]{0,9}", fullmatch=True)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.one_of(_TEXTS, st.integers(-(2**31), 2**31), st.booleans(), st.lists(_TEXTS, max_size=3))


@given(
    st.recursive(
        st.dictionaries(_KEYS, _VALUES, max_size=3),
        lambda tables: st.dictionaries(_KEYS, st.one_of(_VALUES, tables), max_size=3),
        max_leaves=8,
    )
)
def test_the_written_keys_are_those_that_are_read(keys: dict[str, Any]) -> None:
    assert tomllib.loads(toml(keys)) == keys


def test_a_token_of_a_run_replaces_the_command_for_one(tmp_path: Path) -> None:
    base = tmp_path / "seatrial.toml"
    base.write_text('[auth]\ntoken_command = ["token"]\nprotected_path = "/a"')
    keys = subject_keys(Subject(name="shop", keys={"auth": {"token": "x"}}, base=base))
    assert keys == {"auth": {"token": "x", "protected_path": "/a"}}


def test_keys_of_a_run_override_those_of_the_file() -> None:
    base = {"url": "a", "auth": {"scheme": "Bearer", "token": "x"}}
    expected = {"url": "a", "auth": {"scheme": "Bearer", "token": "y"}}
    assert merged(base, {"auth": {"token": "y"}}) == expected
