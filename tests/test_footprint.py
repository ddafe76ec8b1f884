"""The plan's arithmetic against the real model."""

from typing import Any

import pytest
import torch

from trainables.config import SimCLRConfig
from trainables.footprint import footprint
from trainables.model import SimCLR


@pytest.mark.parametrize(
    ("encoder", "image_size", "width_factor", "layers"),
    [("resnet10", 16, 0.25, 2), ("resnet18", 64, 0.5, 1), ("resnet34", 32, 0.25, 4), ("resnet50", 64, 0.25, 3)],
)
def test_footprint_equals_the_model(encoder: str, image_size: int, width_factor: float, layers: int) -> None:
    config = SimCLRConfig.parse(
        {
            "encoder": encoder,
            "image_size": image_size,
            "width_factor": width_factor,
            "projector_layers": layers,
        }
    )
    model = SimCLR(config, 7)
    counted = footprint(config, 7)
    assert counted.parameters == sum(weights.numel() for weights in model.parameters())
    kept: dict[int, int] = {}
    owned = {weights.untyped_storage().data_ptr() for weights in (*model.parameters(), *model.buffers())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def give(packed: Any) -> Any:
        return packed

    views = 8
    with torch.autograd.graph.saved_tensors_hooks(keep, give):
        outputs = model(torch.rand(views, 3, image_size, image_size))
    assert outputs.embeddings.requires_grad
    assert sum(kept.values()) == pytest.approx(4 * views * counted.activations, rel=0.08)
