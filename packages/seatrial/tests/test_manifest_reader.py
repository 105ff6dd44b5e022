"""Documents, model and relations of manifests; files that are not valid or hostile."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # has no types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seatrial import Undecided
from seatrial._families import compose, kubernetes
from seatrial._manifests.compose import Stack, interpolated, seconds
from seatrial._manifests.documents import ManifestError, read_documents
from seatrial._manifests.kubernetes import Cluster
from seatrial._manifests.quantities import quantity, share
from seatrial._manifests.subject import read_manifests
from seatrial._static.fields import FieldError

from .manifests import COMPOSE, KUBERNETES


def write(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".yaml").write_text(text)
    return str(folder)


def test_a_directory_is_read_with_its_subdirectories(tmp_path: Path) -> None:
    write(tmp_path, shop__all=KUBERNETES, compose=COMPOSE, values="a: 1", list="[1, 2]", empty="")
    write(tmp_path / ".git", hidden="apiVersion: v1\nkind: Secret\n")
    (tmp_path / "notes.txt").write_text(": not YAML : [")
    documents = read_documents(str(tmp_path))
    cluster, stack = Cluster(documents), Stack(documents)
    assert [str(each) for each in cluster.workloads] == ["CronJob shops/report", "Deployment shops/shop"]
    assert "Secret" not in cluster.kinds
    assert stack.services.keys() == {"shop", "proxy", "migrate", "db", "grafana"}


def test_lists_and_json_are_read(tmp_path: Path) -> None:
    items = list(yaml.safe_load_all(KUBERNETES))
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert len(Cluster(read_documents(str(path))).workloads) == 2


def test_standard_input_is_read() -> None:
    script = (
        "from seatrial._manifests.documents import read_documents\n"
        "from seatrial._manifests.kubernetes import Cluster\n"
        "print(*Cluster(read_documents('-')).workloads, sep='\\n')"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], input=KUBERNETES, check=True, capture_output=True, text=True
    )
    assert result.stdout.splitlines() == ["CronJob shops/report", "Deployment shops/shop"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "contains no manifest"),
        ({"a": "- 1"}, "contains no manifest"),
        ({"a": "a: ]"}, r"a\.yaml, line 1 is not valid YAML"),
        ({"a": "a: {{ .Values.name }}: b"}, "render templates first"),
        ({"a": "a: !!python/object/apply:os.system [id]"}, "is not valid YAML"),
        ({"a": "a: \x00"}, "is not valid YAML"),
        ({"kustomization": "resources: []"}, r"use: kubectl kustomize .* \| seatrial manifests -"),
        ({"a__b": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization"}, "is a kustomization"),
        ({"Chart": "name: shop"}, r"use: helm template .* \| seatrial manifests -"),
        ({"a": "[" * 5000}, "is not valid YAML"),
        ({"a": "{a: " * 5000}, "is not valid YAML"),
    ],
)
def test_what_cannot_be_read_is_an_error(files: dict[str, str], problem: str, tmp_path: Path) -> None:
    write(tmp_path, **files)
    with pytest.raises(ManifestError, match=problem):
        read_documents(str(tmp_path))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read: No such file or directory"):
        read_documents(str(tmp_path / "missing.yaml"))


def test_merge_keys_that_multiply_are_refused(tmp_path: Path) -> None:
    keys = ", ".join(f"k{n}: 1" for n in range(100))
    lines = [f"a0: &a0 {{{keys}}}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 8)]
    with pytest.raises(ManifestError, match="merge keys"):
        read_documents(write(tmp_path, bomb="\n".join(lines)))


def test_many_keys_are_not_merged_ones(tmp_path: Path) -> None:
    keys = "".join(f"  k{n}: 1\n" for n in range(250_000))
    (document,) = read_documents(write(tmp_path, a=f"apiVersion: v1\ndata:\n{keys}"))
    assert len(document.raw("data")) == 250_000


@pytest.mark.parametrize("value", ["- 1\n", "1,"])
def test_more_values_than_fit_into_memory_are_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"more than 32 MiB or 400000 lines"):
        read_documents(write(tmp_path, a=f"[{value * 500_000}]"))


@pytest.mark.parametrize("reference", ["include: [other.yaml]", "x: 1"])
def test_a_compose_file_that_refers_to_others_is_refused(reference: str, tmp_path: Path) -> None:
    service = "" if "include" in reference else ", extends: {file: base.yaml, service: a}"
    text = f"{reference}\nservices: {{a: {{image: 'a:1'{service}}}}}"
    with pytest.raises(
        ManifestError, match=r"merge the files first: docker compose config \| seatrial manifests -"
    ):
        Stack(read_documents(write(tmp_path, compose=text)))


def test_values_of_another_type_are_named(tmp_path: Path) -> None:
    text = KUBERNETES.replace("containers:", "containers: many\n      other:", 1)
    cluster = Cluster(read_documents(write(tmp_path, a=text)))
    with pytest.raises(FieldError, match=r"Deployment shop\.spec\.template\.spec\.containers must be a list"):
        assert cluster.workloads[1].containers


def test_ports_are_no_numbers_of_base_60_and_dates_are_text(tmp_path: Path) -> None:
    text = "services: {a: {image: 'a:1', labels: {date: 2026-01-01}, ports: [22:22, 127.0.0.1:25:25]}}"
    stack = Stack(read_documents(write(tmp_path, a=text)))
    assert [port.text for port in stack.services["a"].ports] == ["22:22", "127.0.0.1:25:25"]
    assert stack.services["a"].fields.mapping("labels") == {"date": "2026-01-01"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "a"), ("$A", ""), ("${A}", ""), ("${A:-b}", "b"), ("${A-b}c", "bc"), ("${A:?b}", ""),
        ("$$A", "$A"), ("${A:+b}", ""), ("${A:-${B:-c}}", "c"), ("$${A:-b}", "${A:-b}"),
        ("${A:-", "${A:-"), ("${A:-$$}", "$"),
    ],
)  # fmt: skip
def test_variables_have_their_defaults(text: str, expected: str) -> None:
    assert interpolated(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("1.5m", 90),
        ("1h", 3600),
        ("500ms", 0.5),
        ("30", None),
        ("x", None),
        ("", None),
    ],
)
def test_durations(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250m", 0.25),
        ("64Mi", 64 << 20),
        ("1.5G", 1.5e9),
        ("1", 1),
        ("1e3", 1000),
        ("0", 0),
        ("", None),
        ("x", None),
    ],
)
def test_quantities(text: str, expected: float | None) -> None:
    assert quantity(text) == pytest.approx(expected)


def test_shares_are_rounded_as_kubernetes_does() -> None:
    assert [share("25%", n, round_up=False) for n in (2, 4, 10)] == [0, 1, 2]
    assert [share("25%", n, round_up=True) for n in (2, 4, 10)] == [1, 1, 3]
    assert share("3", 2, round_up=True) == 3
    for text in ("some", "²", "9" * 5000, "9" * 5000 + "%", ""):
        assert share(text, 2, round_up=True) is None


_KEYS = (
    "spec", "template", "metadata", "labels", "containers", "image", "ports", "name", "env", "kind",
    "matchLabels", "services", "depends_on", "environment", "resources",
)  # fmt: skip
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), children, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(_VALUES, _VALUES, st.sampled_from(["Deployment", "Pod", "NetworkPolicy", "ConfigMap", "CronJob"]))
def test_any_document_is_judged_or_an_error(
    tmp_path: Path, spec: object, services: object, kind: str
) -> None:
    documents = [{"apiVersion": "v1", "kind": kind, "spec": spec, "data": services}, {"services": services}]
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    try:
        subject = read_manifests(str(path), stop_s=1)
    except ManifestError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both outcomes are correct
        return
    for row in (*kubernetes.ROWS, *compose.ROWS):
        with suppress(Undecided):
            assert row.judge(subject).reason
