"""The snippets of a model card run as they stand, in the card's folder, and agree with each other."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from support.card_snippets import run, snippets
from support.small_sweeps import SMALL_SPACE

from sweep.export import main
from sweep.planning.dataset_sizes import size_of
from sweep.planning.plan import make_plan
from sweep.records.sweep_record import SweepRecord, describe
from sweep.records.sweep_storage import SweepStorage
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.training.trial import train


def check(folder: Path, count: int) -> None:
    blocks = snippets((folder / "MODEL_CARD.md").read_text(encoding="utf-8"))
    assert len(blocks) == count
    onnx, *others = [run(block) for block in blocks]
    for names in others:
        np.testing.assert_allclose(names["features"], onnx["features"], rtol=1e-4, atol=1e-5)
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession("model.onnx")
    expected = session.run(["features"], {"images": images.permute(0, 2, 3, 1).numpy()})[0]
    assert expected.std(axis=0).max() > 0.0
    for block in blocks[1:]:
        np.testing.assert_allclose(run(block, images)["features"], expected, rtol=1e-3, atol=1e-4)


def test_a_small_encoder(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    main("mine", storage=str(swept[1].storage.root), output=tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    check(tmp_path / "out", 2)


@pytest.mark.slow
@pytest.mark.parametrize("normalisation", ["none", "train"])
def test_torchvisions_encoder(
    normalisation: str, store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    fields = {"encoder": "resnet18", "width_factor": 1.0, "stem": "large", "normalisation": normalisation, "epochs": 1}
    chosen = {name: [value] for name, value in {**fields, "temperature": 0.5, "seed": 0}.items()}
    record = describe(
        make_plan(SMALL_SPACE, assignments=chosen, size_of=size_of), name="mine", command="", commit=None, versions={}
    )
    storage = SweepStorage(tmp_path / "storage")
    storage.write_sweep(record)
    (entry,) = (entry for entry in record.trials if entry.baseline is None)
    config = TrialConfig.parse(entry.config)
    list(train(config, store=store, files=storage.trial_of(entry), device=torch.device("cpu")))
    main("mine", storage=str(tmp_path / "storage"), output=tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    check(tmp_path / "out", 3)
