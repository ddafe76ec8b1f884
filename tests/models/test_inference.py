"""A deployed encoder gives what the trial's evaluation gave, of images as they are read."""

from pathlib import Path

import pytest
import torch
from support.small_trials import MULTI, changed, files_in, final_metrics
from torch import nn

from trainables.augment.evaluation_view import evaluation_matrices, evaluation_view
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.models.inference import InferenceModel, deployed


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


class _Brightness(nn.Module):
    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return views.mean(dim=(2, 3))


def test_a_large_number_is_as_exact_as_its_head() -> None:
    """float32 would round 1e9 to multiples of 64."""
    head = nn.Linear(1, 1, dtype=torch.float64)
    nn.init.constant_(head.weight, 255.0)
    nn.init.constant_(head.bias, 1e9)
    module = InferenceModel(_Brightness(), head, size=(8, 8), image_size=8, full=255.0, target="number")  # type: ignore[arg-type]
    levels = torch.tensor([0, 1, 2, 77, 255], dtype=torch.uint8)
    numbers, _ = module(levels[:, None, None, None].expand(-1, 8, 8, 1))
    torch.testing.assert_close(numbers[:, 0], levels.double() + 1e9, rtol=0, atol=1e-4)


def test_a_head_that_isnt_there_is_said(tmp_path: Path, store: ImageStore) -> None:
    final_metrics(changed(epochs=0), tmp_path, store=store)
    state = files_in(tmp_path).load_model()
    assert deployed(state, size=(8, 8)).head.out_features == 10
    with pytest.raises(BadInputError, match="--head probe: this trial has no such head; it has linear"):
        deployed(state, size=(8, 8), head="probe")
