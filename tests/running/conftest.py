"""A shell in which real sweeps of prepared digits run."""

from pathlib import Path

import pytest
from support.sweep_shell import Shell

from trainables.data.preparing.prepare import prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    prepare("digits", root=root)
    return root


@pytest.fixture
def shell(tmp_path: Path, data: Path, mlflow_database: Path) -> Shell:
    return Shell(tmp_path, data, mlflow_database)
