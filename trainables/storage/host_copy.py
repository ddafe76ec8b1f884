"""Snapshot of tensors in host memory, written while training changes the originals."""

from typing import Any

import torch
from torch import Tensor


class HostCopy:
    """Copy of nested dicts, lists and tuples of tensors.

    Copies from a GPU go to page-locked memory asynchronously: later work on the same stream, as the optimiser's next
    step, starts after the copy. torch reuses the page-locked blocks.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self._arrived: list[torch.cuda.Event] = []
        devices: set[torch.device] = set()
        self._state = _copied(state, devices)
        for device in devices:
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record(torch.cuda.current_stream(device))
            self._arrived.append(arrived)

    def save(self, stream: Any) -> None:
        """Write the copy in torch.save's format into a binary stream; OSError if the stream refuses."""
        for arrived in self._arrived:
            arrived.synchronize()
        try:
            torch.save(self._state, stream)
        except RuntimeError as error:  # closing its archive, torch covers what the stream raised
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def _copied(value: Any, devices: set[torch.device]) -> Any:
    """Return the copy of a value, and add its GPUs to `devices`."""
    if isinstance(value, Tensor):
        if value.is_cuda:
            devices.add(value.device)
        return value.detach().to("cpu", non_blocking=True, copy=True)
    if isinstance(value, dict):
        return {key: _copied(one, devices) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(one, devices) for one in value)
    return value
