"""The unit, compose and Kubernetes files give the service what it may take, and no more."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from sympress.serve.config import ServeConfig

yaml = pytest.importorskip("yaml", reason="needs PyYAML")
ROOT = Path(__file__).parents[2]
GIB = 1 << 30
#: HTTP and the bundled model with the rules, as measured (docs/how-to/serve.md).
IDLE_BYTES, MODEL_BYTES = 310_000_000, 230_000_000
#: asyncio's buffer of a TLS connection.
TLS_BYTES = 262_144


def kubernetes() -> dict[str, Any]:
    text = (ROOT / "packaging" / "kubernetes.yaml").read_text("utf-8")
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "packaging" / "sympress.service")
    return parser["Service"]


def test_a_gibibyte_holds_the_worst_note_and_full_buffers_or_a_reload():
    limits = ServeConfig()
    buffers = limits.connections * TLS_BYTES + limits.uploads_bytes + limits.answers_bytes
    assert IDLE_BYTES + limits.note_bytes + buffers < GIB
    assert IDLE_BYTES + limits.note_bytes + MODEL_BYTES < GIB


def test_each_file_allows_a_gibibyte():
    container = kubernetes()["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["memory"] == "1Gi"
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["sympress"]
    assert compose["mem_limit"] == "1g"
    assert unit()["MemoryMax"] == "1G"


def test_there_are_files_for_every_connection():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["sympress"]
    for files in (compose["ulimits"]["nofile"], int(unit()["LimitNOFILE"])):
        assert files > 2 * ServeConfig().connections


def test_only_labelled_pods_reach_the_service_and_it_reaches_nobody():
    found = kubernetes()
    pod = found["Deployment"]["spec"]["template"]
    policy = found["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == pod["metadata"]["labels"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    assert policy["ingress"][0]["from"] == [{"podSelector": {"matchLabels": {"sympress-client": "true"}}}]
    assert policy["ingress"][0]["ports"] == [{"port": pod["spec"]["containers"][0]["ports"][0]["name"]}]


def test_the_key_is_not_for_every_user_of_the_container():
    volume = kubernetes()["Deployment"]["spec"]["template"]["spec"]["volumes"][0]
    assert volume["secret"]["defaultMode"] == 0o440
