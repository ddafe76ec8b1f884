"""Training of one trial: SimCLR and its linear probe in plain PyTorch, independent of Ray, MLflow and the sweep."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from trainables.models.exported_encoder import ExportedEncoder


def load_encoder(folder: "str | Path") -> "ExportedEncoder":
    """Return the encoder of a folder that `sweep export` wrote, in evaluation mode; needs no package but torch.

    Args:
        folder: Holds encoder.safetensors and model.json.

    Returns:
        A module of (N, C, H, W) images as they are stored (uint8, uint16, or floats from 0 to 1) to (N, F) features;
        `bands` names the channels in their order, `size` is (H, W).

    Raises:
        BadInputError: The folder holds no exported model, or one of an earlier version.

    Example:
        >>> encoder = trainables.load_encoder("exports/digits-b32-t0.25-e5-s0")
        >>> features = encoder(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    """
    from trainables.models.exported_encoder import load_encoder as load  # torch takes seconds to import

    return load(folder)
