"""A real sweep where the machine gives less than usual: no home, or none to write to, and a long temporary folder."""

from pathlib import Path

import pytest
from support.sweep_shell import Shell

ONE_TRIAL = 'Stage("grid", (Grid(axes={"temperature": (0.1,)}),))'


@pytest.mark.slow
@pytest.mark.parametrize(
    "home", [pytest.param("/proc/nothing", marks=pytest.mark.long), None], ids=["unwritable", "absent"]
)
def test_a_sweep_needs_no_home_and_no_short_temporary_folder(shell: Shell, tmp_path: Path, home: str | None) -> None:
    """A socket's path has at most 107 characters."""
    folder = tmp_path / ("job" * 30)
    folder.mkdir()
    for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        shell.environment.pop(name, None)
    shell.environment |= {"TMPDIR": str(folder), **({} if home is None else {"HOME": home})}
    out = shell("run", "--space", shell.space(ONE_TRIAL), "--set", "epochs=1")
    assert "Traceback" not in out
    assert "AF_UNIX" not in out
    (files,) = shell.trials("small").values()
    assert files.final() is not None
    assert not list(folder.iterdir()), "what a sweep leaves"
