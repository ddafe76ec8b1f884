"""The short form of `make chaos`: a few faults, then the same checks."""

import shutil
from pathlib import Path

import pytest

from trainables.data.preparing.prepare import prepare


@pytest.mark.slow
def test_sweeps_survive_faults_and_give_the_undisturbed_numbers(tmp_path: Path, mlflow_database: Path) -> None:
    from chaos.harness import World
    from chaos.storm import Storm

    prepare("digits", root=tmp_path / "data")
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    world = World(tmp_path, tmp_path / "data")
    try:
        storm = Storm(world, seed=7, epochs=6)
        storm.run(3, workers=(1,))
    finally:
        world.close()
    assert storm.tally.total == 3
    assert storm.tally.attempts["finished"] >= 6
