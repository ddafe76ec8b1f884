"""A deployed encoder gives what the trial's evaluation gave, of images as they are read."""

from pathlib import Path

import pytest
import torch
from support.small_trials import MULTI, changed, files_in, final_metrics

from trainables.augment.evaluation_view import evaluation_matrices, evaluation_view
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.models.inference import deployed


@pytest.mark.parametrize(("size", "image_size"), [((64, 64), 64), ((120, 90), 48), ((8, 8), 20), ((16, 16), 16)])
def test_two_matrices_are_the_evaluation_view(size: tuple[int, int], image_size: int) -> None:
    images = torch.randint(0, 256, (3, 2, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows, columns = evaluation_matrices(size, image_size)
    views = (rows @ (images.double() / 255) @ columns.T).clamp(0, 1)
    assert torch.allclose(views.float(), evaluation_view(images, image_size=image_size), atol=1e-6)


@pytest.mark.parametrize("head", ["linear", "probe"])
@pytest.mark.parametrize(
    "fields", [{}, {"normalisation": "train"}, {"image_size": 40}], ids=["plain", "normalised", "cropped"]
)
def test_probabilities_are_those_of_the_outputs(
    tmp_path: Path, store: ImageStore, fields: dict[str, object], head: str
) -> None:
    final_metrics(changed(**fields), tmp_path, store=store)
    files = files_in(tmp_path)
    table = files.outputs("test")
    assert table is not None
    module = deployed(files.load_model(), size=store.info.image_size, head=head)
    images = store.images(table["row"].to_numpy())
    with torch.no_grad():
        probabilities, features = module(images)
    column = "linear_logits" if head == "linear" else "logits"
    logits = torch.tensor(table[column].to_pylist())
    assert torch.allclose(probabilities, logits.softmax(1), atol=2e-5)
    assert features.shape == (len(table), module.head.in_features)


def test_several_labels_have_a_probability_each(tmp_path: Path, patches: ImageStore) -> None:
    final_metrics(changed(**MULTI, dataset="bigearthnet_v1", image_size=24), tmp_path, store=patches)
    files = files_in(tmp_path)
    table = files.outputs("test")
    assert table is not None
    module = deployed(files.load_model(), size=patches.info.image_size)
    images = patches.images(table["row"].to_numpy())
    with torch.no_grad():
        probabilities, _ = module(images)
    assert torch.allclose(probabilities, torch.tensor(table["linear_logits"].to_pylist()).sigmoid(), atol=2e-5)


def test_a_head_that_isnt_there_is_said(tmp_path: Path, store: ImageStore) -> None:
    final_metrics(changed(epochs=0), tmp_path, store=store)
    state = files_in(tmp_path).load_model()
    assert deployed(state, size=(8, 8)).head.out_features == 10
    with pytest.raises(BadInputError, match="--head probe: this trial has no such head; it has linear"):
        deployed(state, size=(8, 8), head="probe")
