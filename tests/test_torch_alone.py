"""Trials need PyTorch, torchvision, numpy, pyarrow and pydantic, and no package more."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import special
from support.paths import TESTS

from trainables.randomness import counter_based as randomness
from trainables.randomness import torch_normal
from trainables.randomness.counter_based import RandomStream, normal

TRAINED = """
import json
import sys
from importlib.machinery import PathFinder
from pathlib import Path

OTHERS = {others}


class Fewer(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in OTHERS else super().find_spec(name, path, target)


sys.meta_path = [Fewer if finder is PathFinder else finder for finder in sys.meta_path]

from support.small_trials import changed, final_metrics
from support.stores import of_noise

store = of_noise(Path({folder!r}))
for positive in ((), ("a",)):
    config = changed(dataset="noise", max_train_images=None, max_test_images=None, positive=positive)
    print(json.dumps(final_metrics(config, Path({folder!r}) / f"trial{{len(positive)}}", store=store)))
assert not OTHERS & {{name.split(".")[0] for name in sys.modules}}
"""
OTHERS = {"ray", "mlflow", "scipy", "sklearn", "threadpoolctl", "numba", "pandas", "typer", "rich", "matplotlib"}
OTHERS |= {"tifffile", "statsmodels", "plotly", "yaml", "requests", "urllib3", "sweep"}


def test_trials_train_and_evaluate_without_any_other_package(tmp_path: Path) -> None:
    """From pictures on disk to the metrics of every held-out split, temperature scaling and curves included."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRAINED.format(others=OTHERS, folder=str(tmp_path))],
        env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    plain, ruled = (json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{"))
    assert {"test/top1", "test/linear_top1", "test/knn_top1", "val/scale"} <= plain.keys()
    assert ruled.keys() - plain.keys() >= {"val/roc_auc", "test/linear_pr_auc"}


def test_numbers_without_scipy_are_those_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = np.concatenate([np.linspace(2.0**-54, 1 - 2.0**-53, 100_001), 2.0 ** -np.arange(1.0, 55.0)])
    np.testing.assert_allclose(torch_normal.ndtri(shares), special.ndtri(shares), rtol=1e-14, atol=1e-15)
    for bound in (-np.inf, -2.0, 0.0, 2.0, np.inf):
        assert torch_normal.ndtr(bound) == pytest.approx(special.ndtr(bound), rel=1e-15)
    for cut in (2.0, np.inf):
        expected = normal(0, RandomStream.WEIGHTS, 1, (1000, 300), cut=cut)
        with monkeypatch.context() as patch:
            patch.setattr(randomness, "ndtr", torch_normal.ndtr)
            patch.setattr(randomness, "ndtri", torch_normal.ndtri)
            found = normal(0, RandomStream.WEIGHTS, 1, (1000, 300), cut=cut)
        np.testing.assert_allclose(found, expected, rtol=0, atol=4e-15)
        np.testing.assert_array_equal(found.astype(np.float32), expected.astype(np.float32))
