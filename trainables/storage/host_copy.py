"""Snapshot of tensors in host memory, which is written while training changes the originals."""

from typing import Any

import torch
from torch import Tensor


class HostCopy:
    """A copy of nested dicts, lists and tuples with tensors in them.

    From a GPU it goes to page-locked memory and nobody waits: what comes after it on the same stream, the optimiser's
    next step above all, finds it made. Page-locked blocks are torch's to use again.
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
        """Write it as torch.save does, straight into a binary stream; OSError where that refuses."""
        for arrived in self._arrived:
            arrived.synchronize()
        try:
            torch.save(self._state, stream)
        except RuntimeError as error:  # closing its archive, torch covers what the stream raised
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def _copied(value: Any, devices: set[torch.device]) -> Any:
    """Return the copy, and add the GPUs that it comes from."""
    if isinstance(value, Tensor):
        if value.is_cuda:
            devices.add(value.device)
        return value.detach().to("cpu", non_blocking=True, copy=True)
    if isinstance(value, dict):
        return {key: _copied(one, devices) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(one, devices) for one in value)
    return value
