"""Export to ONNX, checked against PyTorch's outputs."""

from pathlib import Path
from typing import Any

from sweep.deployment.exported_model import NUMBERS, PROBABILITIES
from sweep.deployment.trial_choice import ChosenTrial

PARITY = 1e-4
"""Maximum allowed difference between ONNX's and PyTorch's probabilities; of numbers, as a share of the largest."""
PARITY_IMAGES = 16
OPSET = 18


def write_onnx(module: Any, chosen: ChosenTrial, path: Path) -> float:
    """Write the model as ONNX; return the maximum difference between its outputs and PyTorch's.

    Raises:
        RuntimeError: The difference is too large.
    """
    import numpy as np
    import onnxruntime
    import torch

    shape = (PARITY_IMAGES, *chosen.store.image_size, chosen.store.channels)
    images = np.random.default_rng(0).integers(0, 2**chosen.bits, shape, dtype=chosen.store.dtype)
    torch.onnx.export(
        module,
        (torch.from_numpy(images),),
        path,
        input_names=["images"],
        output_names=[NUMBERS if chosen.predicts_number else PROBABILITIES, "features"],
        dynamic_shapes={"images": {0: torch.export.Dim("n", min=1)}},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": images})[0]
    with torch.no_grad():
        expected = module(torch.from_numpy(images))[0].numpy()
    difference = float(np.abs(found - expected).max())
    if not difference <= PARITY * (float(np.abs(expected).max()) if chosen.predicts_number else 1.0):
        raise RuntimeError(f"{path}: ONNX's outputs differ from PyTorch's by {difference:.2g}")
    return difference
