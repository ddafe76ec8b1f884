"""A real sweep whose records are damaged, and that is moved, between two runs: it ends with the same numbers."""

import json
import shutil
from pathlib import Path

import pytest
from support.sweep_shell import ALONE, GRID, Shell

from trainables.data.store import ImageStore
from trainables.storage.trial_files import TrialFiles


def numbers(shell: Shell) -> dict[str, str]:
    """Return each trial's metrics of all epochs, but for its speed."""

    def of(files: TrialFiles) -> str:
        return json.dumps(
            [{k: v for k, v in one.metrics.items() if "images_per_second" not in k} for one in files.epochs()]
        )

    return {name: of(files) for name, files in shell.trials("small").items()}


@pytest.mark.slow
def test_a_run_over_damaged_records_in_a_moved_storage_ends_as_ever(
    tmp_path: Path, store: ImageStore, mlflow_database: Path
) -> None:
    (old := tmp_path / "old").mkdir()
    shell = Shell(old, store.path.parent, mlflow_database)
    space = shell.space(GRID)
    shell("run", "--space", space, *ALONE)
    expected = numbers(shell)
    folders = [Path(files.storage.root) for files in shell.trials("small").values()]
    (folders[0] / "epochs/000003.json").write_bytes(b"")
    (folders[0] / "epochs/000001.json").write_bytes(b'{"epoch": 1, "ti')
    (folders[0] / "attempts/000001.json").write_bytes(b"\x00\x01")
    (folders[1] / "final.json").unlink()
    (folders[1] / "final.json").mkdir()
    (folders[1] / "config.json").write_bytes(b"")
    (folders[2] / "final.json").write_bytes(b"{")
    (folders[2] / "epochs/000002.json").write_bytes(b"")
    shutil.rmtree(folders[2] / "checkpoints")  # so all its epochs are trained again
    (old / ".sweep/sweeps/torn").mkdir()
    (old / ".sweep/sweeps/torn/sweep.json").touch()
    (old / ".sweep/live/small.json").write_bytes(b"")
    (old / ".sweep/.DS_Store").write_bytes(b"\x00Bud1")

    shell.folder = old.rename(tmp_path / "new 100% ?")
    out = shell("run", "--resume", "small", *ALONE)
    assert "isn't a record: it is empty" in out
    assert "Traceback" not in out
    assert numbers(shell) == expected
    assert all(files.finished() is not None for files in shell.trials("small").values())
    assert not old.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["new 100% ?"]
    for path in (shell.folder / ".sweep/trials").rglob("epochs/*.json"):
        json.loads(path.read_text())
