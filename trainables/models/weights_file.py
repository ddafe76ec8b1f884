"""Safe reading of a foreign weights file: plain tensors by name, or one clear error."""

import argparse
import io
import json
import math
import re
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trainables.data.bands import EncoderInputs
from trainables.errors import BadInputError, describe_validation
from trainables.files.unpacked_limit import check_unpacked
from trainables.weights.header import check_header, is_safetensors

if TYPE_CHECKING:
    from torch import Tensor

NESTED = (
    *("state_dict", "model_state_dict", "classy_state_dict", "base_model", "model", "trunk", "teacher", "student"),
    *("target_encoder", "encoder_q", "encoder", "backbone", "module", "network", "net", "weights"),
)
"""Keys under which files nest the weights: PyTorch Lightning, timm, MoCo, VISSL, DINO (the teacher first)."""
DEEPEST = 6
"""Maximum depth of nested keys; deeper nesting is treated as circular."""
MOST_NAMES = 100_000
OTHER_OBJECT = re.compile(r"GLOBAL ([\w.]+)")
"""Part of torch's message that names a class in the file that is not a tensor."""
CUT_OFF = ("unexpected EOF", "Ran out of input", "truncated", "central directory", "not enough data", "unexpected pos")
LONGEST_NAME = 100
"""Maximum number of characters of a name in a message."""


INPUTS = "inputs"
"""Key of a trial's model.pt for the pixels that it was trained on."""


def read_state(content: bytes, address: str) -> "tuple[dict[str, Tensor], EncoderInputs | None]":
    """Return the tensors of a state dict (safetensors or PyTorch's format, by its content), on the CPU, and its inputs.

    Other content (epochs, optimisers) is left out. Only a trial's model.pt states the pixels that it was trained on.

    Raises:
        BadInputError: The file isn't a state dict, a tensor isn't plain, dense and finite, or the file declares more
            data than it holds.
    """
    check_header(content, address)
    try:
        state = _safetensors(content) if is_safetensors(content) else _torch(content)
        return _tensors(_innermost(state)), _inputs(state.get(INPUTS))
    except BadInputError as error:
        raise BadInputError(f"initial_weights: {address}: {error}") from error


def _inputs(stated: Any) -> EncoderInputs | None:
    if not isinstance(stated, Mapping) or "bands" not in stated:
        return None
    try:
        return EncoderInputs.model_validate(stated)
    except ValidationError as error:
        faults = describe_validation(error, known_fields=tuple(EncoderInputs.model_fields)).replace("\n", "; ")
        raise BadInputError(f"{INPUTS}: {faults}") from error


def _safetensors(content: bytes) -> Mapping[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ModuleNotFoundError as error:
        raise BadInputError("needs safetensors: pip install 'sweep-service[export]'") from error
    try:
        tensors: Mapping[str, Any] = load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError, json.JSONDecodeError) as error:
        raise BadInputError(f"isn't a safetensors file ({_first_line(error)})") from error
    return tensors


def _torch(content: bytes) -> Mapping[str, Any]:
    import torch

    _check_archive(content)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # attributes alone: what DINO keeps its options in
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a torn or foreign file raises whatever the unpickler meets
        raise BadInputError(f"isn't a plain weights file ({_reason(error)})") from error
    if not isinstance(state, Mapping):
        raise BadInputError(f"holds a {type(state).__name__}, not a state dict")
    return state


def _check_archive(content: bytes) -> None:
    """Refuse an archive that unpacks to more than the limit: PyTorch writes uncompressed, but reads compressed ones."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_unpacked(sum(info.file_size for info in archive.infolist()), len(content))
            names = archive.namelist()
        if any("/code/" in name for name in names):
            raise BadInputError("is a TorchScript program, which runs code; save only its state dict: torch.save(...)")
        if not any(name.endswith("/data.pkl") for name in names):
            raise BadInputError(
                f"is a zip of {_shown(', '.join(names[:3]))}, and none that torch.save wrote; unpack it"
            )
    except BadInputError:
        raise
    except (ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise BadInputError(f"isn't a plain weights file ({_first_line(error)})") from error


def _innermost(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the innermost mapping with the weights, without the keys that nest it."""
    for _ in range(DEEPEST):
        inner = next((state[key] for key in NESTED if isinstance(state.get(key), Mapping)), None)
        parts = [value for value in state.values() if isinstance(value, Mapping)]
        if inner is None and len(parts) == 1 and not _holds_weights(state):
            inner = parts[0]
        if inner is None:
            return state
        state = inner
    raise BadInputError(
        f"keeps its weights more than {DEEPEST} levels deep ({', '.join(NESTED)}); give a plain state dict"
    )


def _holds_weights(state: Mapping[str, Any]) -> bool:
    import torch

    return any(isinstance(value, torch.Tensor) and value.dim() > 1 for value in state.values())


def _tensors(state: Mapping[Any, Any]) -> "dict[str, Tensor]":
    """Return the weights; entries without a weight's name (`epoch`, `args`) are ignored."""
    import torch

    if len(state) > MOST_NAMES:
        raise BadInputError(f"holds {len(state):,} names; the limit is {MOST_NAMES:,}")
    found = {}
    for name, value in state.items():
        if isinstance(name, str) and isinstance(value, torch.Tensor):
            _check(name, value)
            found[name] = value
        elif isinstance(name, str) and "." in name:
            raise BadInputError(f"{_shown(name)} is a {type(value).__name__}, not a tensor")
    return found


def _check(name: str, tensor: "Tensor") -> None:
    """Raise BadInputError for a tensor that is not a plain dense array."""
    import torch

    fault = ""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        fault = f"is a {type(tensor).__name__}"
    elif tensor.layout != torch.strided or tensor.is_nested:
        fault = "is sparse or nested"
    elif tensor.is_quantized:
        fault = "is quantised"
    elif tensor.device.type != "cpu":
        fault = f"is on the device {tensor.device.type}: it has no values"
    elif tensor.is_complex() or tensor.dtype == torch.bool or not _has_numbers(name, tensor):
        fault = f"has values of {tensor.dtype}"
    elif math.prod(tensor.shape) * tensor.element_size() > tensor.untyped_storage().nbytes():
        fault = f"declares the shape {tuple(tensor.shape)} and holds {tensor.untyped_storage().nbytes():,} bytes"
    elif tensor.is_floating_point() and not torch.isfinite(tensor).all():
        fault = "has values that are infinite or no numbers"
    elif name.endswith("running_var") and (tensor < 0).any():
        fault = "has variances below 0"
    if fault:
        raise BadInputError(f"{_shown(name)} {fault}; give weights as dense, finite tensors of floats")


def _has_numbers(name: str, tensor: "Tensor") -> bool:
    """Whether a tensor's numbers are used as they are: floats of 16 bits or more, and integers that count batches."""
    if tensor.is_floating_point():
        return tensor.element_size() > 1
    return not name.endswith((".weight", ".bias", ".running_mean", ".running_var"))


def _shown(name: str) -> str:
    return repr(name[:LONGEST_NAME])


def _reason(error: Exception) -> str:
    """Return torch's reason for not loading a file, without its advice to disable safe loading."""
    found = OTHER_OBJECT.search(str(error))
    if found is not None:
        return f"it holds {found[1][:LONGEST_NAME]}, which could run code; save only its state dict: torch.save(...)"
    if isinstance(error, EOFError) or any(word in str(error) for word in CUT_OFF):
        return "it is cut off; download it again"
    if "weights_only" in str(error) or "eights only load failed" in str(error):
        return "it holds more than tensors; save only its state dict: torch.save(...)"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
