"""What joining a cluster sends there."""

from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from sweep.cluster import joined_cluster
from sweep.cluster.ray_names import ENVIRONMENT


def test_a_cluster_gets_the_packages_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    import ray

    given: dict[str, Any] = {}
    monkeypatch.setattr(ray, "init", lambda **options: given.update(options))
    joined_cluster._join("auto")
    packages = [Path(package) for package in given["runtime_env"]["py_modules"]]
    assert packages == [ROOT / "sweep", ROOT / "trainables"]
    assert all((package / "__init__.py").is_file() for package in packages)
    assert given["runtime_env"]["env_vars"] == ENVIRONMENT
