"""Formats of reports."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from command import CONFIG, seatrial
from reference_server import running
from reference_tokens import token
from seatrial import Category, Evidence, Row, Severity, failed
from seatrial._report.formats import FORMATS
from seatrial._report.report import Report, cleaned
from seatrial._run.runner import Result

_HOSTILE = "\x1b[2J</pre><script>alert(1)</script>\r\n``` | **bold** \x00\ud800 ]]> \u2028 secret-of-a-report"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The report of one run in all formats."""
    folder = tmp_path_factory.mktemp("reports")
    (folder / "seatrial.toml").write_text(CONFIG)
    arguments = [part for name in FORMATS for part in ("--format", name, "--output", name)]
    with running("sniffing", "reflected origin", "no challenge") as server:
        done = seatrial("check", server.url, "--admin", server.admin_url, *arguments, cwd=folder)
    assert done.returncode == 1, done.stderr
    assert not done.stdout
    return {name: (folder / name).read_text() for name in FORMATS}


def _hostile_report() -> Report:
    row: Row[None] = Row(
        id="edge-hostile",
        title="A row",
        category=Category.EDGE,
        severity=Severity.HIGH,
        command="check",
        why="Because.",
        source="A source",
        how="By reading.",
        fix="Change it.",
        judge=lambda _: failed(_HOSTILE, Evidence(_HOSTILE, _HOSTILE)),
    )
    results = cleaned([Result(row, row.judge(None))], ["secret-of-a-report"])
    return Report(
        target="http://localhost",
        command="check",
        results=results,
        started_at="",
        seconds=0,
        requests=0,
        seed=1,
    )


def test_json_follows_its_schema(outputs: dict[str, str]) -> None:
    schema = json.loads(files("seatrial").joinpath("report.schema.json").read_text("utf-8"))
    document = json.loads(outputs["json"])
    jsonschema.validate(document, schema)
    assert set(document) == set(schema["properties"])
    assert set(document["rows"][0]) == set(schema["properties"]["rows"]["items"]["properties"])


def test_terminal_fits_in_80_columns_with_the_worst_first(outputs: dict[str, str]) -> None:
    lines = outputs["terminal"].splitlines()
    assert max(map(len, lines)) <= 80
    verdicts = [line[:4] for line in lines if re.match(r"(FAIL|pass|\?{4}| -- )  [a-z]+-", line)]
    first_category = verdicts[: verdicts.index("pass")]
    assert first_category
    assert first_category[0] == "FAIL"
    assert "\x1b" not in outputs["terminal"]
    assert lines[-2].startswith("3 failed")


def test_junit_counts_failures_and_skipped_rows(outputs: dict[str, str]) -> None:
    root = ET.fromstring(outputs["junit"])
    counts = json.loads(outputs["json"])["counts"]
    assert len(root.findall(".//testcase")) == sum(counts.values())
    assert len(root.findall(".//failure")) == counts["fail"] == 3
    assert len(root.findall(".//skipped")) == counts.get("unknown", 0) + counts["not applicable"]
    assert sum(int(suite.get("failures", "")) for suite in root) == 3


def test_sarif_has_a_rule_for_each_result(outputs: dict[str, str]) -> None:
    run = json.loads(outputs["sarif"])["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [result["ruleId"] for result in run["results"]] == rules
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    failures = {result["ruleId"] for result in run["results"] if result["level"] != "none"}
    assert failures == {"edge-no-sniffing", "edge-cors-foreign-origin", "auth-challenge"}
    assert all((result["kind"] == "fail") == (result["ruleId"] in failures) for result in run["results"])


def test_html_loads_nothing(outputs: dict[str, str]) -> None:
    found: list[tuple[str, dict[str, Any]]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))

    Parser().feed(outputs["html"])
    assert not {tag for tag, _ in found} & {"script", "link", "img", "iframe"}
    assert not [attributes for _, attributes in found if {"src", "href"} & attributes.keys()]
    opened = [attributes for tag, attributes in found if tag == "details" and "open" in attributes]
    assert len(opened) == 3


def test_no_report_contains_a_credential(outputs: dict[str, str]) -> None:
    sent = [token(), *re.findall(r'token = "([^"]+)"', CONFIG)]
    assert not [(name, text) for name, text in outputs.items() for secret in sent if secret in text]


@pytest.mark.parametrize("name", FORMATS)
def test_text_of_the_target_is_only_text(name: str) -> None:
    text = FORMATS[name](_hostile_report())
    assert "secret-of-a-report" not in text
    assert "\x1b" not in text
    if name == "html":
        assert "<script" not in text
    elif name == "markdown":
        before, fenced, after = text.split("````")
        assert "<script" in fenced
        assert "<script" not in before.replace("\\<", "") + after
    elif name == "junit":
        assert ET.fromstring(text).find(".//failure") is not None
    elif name in {"json", "sarif"}:
        assert json.loads(text)
