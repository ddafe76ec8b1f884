"""What is found of a cluster file, and of the files here that it brings along."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cluster_answers import AWS, LOCAL
from support.paths import ROOT

from sweep.cluster_setup import checks
from sweep.cluster_setup.cluster_file import filled, template
from sweep.cluster_setup.laptop_checks import buckets_of, check_bundle, check_content, check_key, check_secrets
from sweep.console.findings import CheckResult


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with bundle, secrets and key as docs/cluster.md makes them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    bundle, secrets = tmp_path / ".sweep-bundle", tmp_path / ".sweep-secrets"
    for folder in (bundle, secrets, tmp_path / ".ssh"):
        folder.mkdir()
    for name in ("sweep_service-1.whl", "constraints.txt", *(p.name for p in (ROOT / "deploy/cluster").glob("*.sh"))):
        (bundle / name).touch()
    (secrets / "env").write_text("RAY_AUTH_MODE=token\nSWEEP_DATA=s3://my-sweeps/stores\n")
    (secrets / "head.env").write_text("MLFLOW_ARTIFACTS=s3://my-sweeps/mlflow\nMLFLOW_BACKUP='s3://other/copy'\n")
    (secrets / "ray_token").write_text("x")
    (tmp_path / ".ssh/key").touch()
    for path in (*secrets.iterdir(), tmp_path / ".ssh/key"):
        path.chmod(0o600)
    return tmp_path


def config(provider: str = "local") -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(filled(provider, AWS if provider == "aws" else LOCAL))
    return content


def content_findings(text: str) -> dict[str, CheckResult]:
    return {finding.what: finding for finding in check_content(text, yaml.safe_load(text))}


@pytest.mark.parametrize("provider", ["aws", "local"])
def test_a_written_file_has_nothing_left_to_change(provider: str) -> None:
    found = content_findings(filled(provider, AWS if provider == "aws" else LOCAL))
    assert {finding.verdict for finding in found.values()} == {"ok"}


def test_values_and_marks_that_are_left_are_named() -> None:
    found = content_findings(template("aws"))
    assert found["values"] == CheckResult("values", "missing", "still to be set: ami-CHANGE, sg-CHANGE")
    text = template("aws").replace("ami-CHANGE", AWS["image"]).replace("sg-CHANGE", AWS["security_group"])
    marked = content_findings(text)["values"]
    assert marked.verdict == "warning"
    assert "lines 18, 20, 33, 36, 47, 48 " in marked.text
    assert all("# CHANGE" in text.splitlines()[number - 1] for number in (18, 20, 33, 36, 47, 48))


def test_a_field_that_ray_does_not_know_is_named() -> None:
    found = content_findings(filled("aws", AWS) + "idle_timeout: 5\n")["Ray's schema"]
    assert found.verdict == "missing"
    assert "idle_timeout" in found.text


def test_all_that_travels_is_there(home: Path) -> None:
    found = [check_bundle(config()), check_secrets(config()), check_key(config())]
    assert [finding.verdict for finding in found] == ["ok", "ok", "ok"]
    assert check_key(config("aws")).verdict == "ok"


@pytest.mark.parametrize("name", ["node_setup.sh", "mlflow_service.sh", "constraints.txt", "sweep_service-1.whl"])
def test_what_the_bundle_lacks_is_named(home: Path, name: str) -> None:
    (home / ".sweep-bundle" / name).unlink()
    found = check_bundle(config())
    assert found.verdict == "missing"
    assert ("wheel" if name.endswith(".whl") else name) in found.text
    assert "make bundle" in found.text


@pytest.mark.parametrize("name", ["env", "head.env", "ray_token"])
def test_a_secret_that_lacks_is_empty_or_seen_by_others_is_named(home: Path, name: str) -> None:
    path = home / ".sweep-secrets" / name
    for make, why in (
        (lambda: path.chmod(0o640), "chmod 600"),
        (lambda: path.write_text(""), "empty"),
        (path.unlink, "lacks"),
    ):
        make()
        found = check_secrets(config())
        assert (found.verdict, why in found.text, name in found.text) == ("missing", True, True)


def test_a_key_that_lacks_or_is_seen_by_others_is_named(home: Path) -> None:
    (home / ".ssh/key").chmod(0o644)
    assert check_key(config()) == CheckResult(
        "SSH key", "missing", "other users can read it, so ssh refuses it: chmod 600 ~/.ssh/key"
    )
    (home / ".ssh/key").unlink()
    assert check_key(config()) == CheckResult("SSH key", "missing", "~/.ssh/key isn't there")


def test_buckets_are_those_of_the_secrets(home: Path) -> None:
    assert buckets_of(config()) == {"my-sweeps": ["SWEEP_DATA", "MLFLOW_ARTIFACTS"], "other": ["MLFLOW_BACKUP"]}


def test_a_file_that_cannot_be_read_or_that_ray_refuses_asks_nobody(home: Path) -> None:
    assert [finding.what for finding in checks.check(home / "none.yaml")] == ["file"]
    (home / "a.yaml").write_text(filled("aws", AWS) + "idle_timeout: 5\n")
    assert checks.check(home / "a.yaml")[-1] == CheckResult(
        "machines", "warning", "not checked until Ray accepts the file"
    )
