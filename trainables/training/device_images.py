"""Source of a trial's train images: the device's memory if they fit, else the memory-mapped store."""

import torch
from torch import Tensor

from trainables.data.data_split import DataSplit, RowNumbers
from trainables.distributed import rank, to_device

SHARE_OF_FREE = 0.25
"""Share of the device's free memory, after the model is loaded, that images may take; the rest is for activations."""
COPIED_AT_ONCE = 1024


class PixelSource:
    """Source of a split's batches on a device.

    If a GPU's free memory is four times the size of all images, they are copied there once. Otherwise each batch is
    copied from page-locked memory while the previous step still computes.
    """

    def __init__(self, split: DataSplit, device: torch.device) -> None:
        self._split, self._device = split, device
        self._resident: Tensor | None = None
        if device.type == "cuda":
            needed, free = split_bytes(split), torch.cuda.mem_get_info(device)[0]
            fits = needed <= SHARE_OF_FREE * free
            if rank() == 0:
                place = "copied to the GPU once" if fits else "read batch by batch"
                print(f"{needed / 2**30:.2f} GiB of images, {free / 2**30:.1f} GiB free: {place}", flush=True)
            if fits:
                self.copy()

    def copy(self) -> None:
        """Copy all images to the device."""
        height, width, channels, item = _shape(self._split)
        store, rows = self._split.store, self._split.rows
        self._resident = torch.empty(
            len(rows), height * width * channels * item, dtype=torch.uint8, device=self._device
        )
        for start in range(0, len(rows), COPIED_AT_ONCE):
            part = store.images(rows[start : start + COPIED_AT_ONCE]).view(torch.uint8)
            self._resident[start : start + len(part)] = part.view(len(part), -1).to(self._device)

    def batch(self, numbers: RowNumbers) -> Tensor:
        """Return the images (n, C, H, W) of the given numbers within the split, on the device."""
        if self._resident is None:
            return to_device(self._split.pixels(numbers), self._device)
        height, width, channels, _ = _shape(self._split)
        rows = self._resident.index_select(0, to_device(numbers, self._device))
        values = rows.view(getattr(torch, self._split.store.info.dtype))
        return values.view(-1, height, width, channels).permute(0, 3, 1, 2)


def split_bytes(split: DataSplit) -> int:
    """Return the bytes of a split's pixels."""
    height, width, channels, item = _shape(split)
    return len(split) * height * width * channels * item


def _shape(split: DataSplit) -> tuple[int, int, int, int]:
    info = split.store.info
    return *info.image_size, info.channels, 2 if info.dtype == "uint16" else 1
