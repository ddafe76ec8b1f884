"""Weights that an encoder starts from, as one text: ADDRESS, or ADDRESS#name=NAME&sha256=DIGEST.

The file is a finished trial's model.pt, or a state dict of torchvision's or timm's ResNets (.pt, .pth, .safetensors):
ImageNet's, say, or those of other Sentinel-2 pretraining. What a trial is depends on the content, by its digest, and
not on where the file lies.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, quote, unquote

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.models.encoder import Encoder

DIGEST_DIGITS = 16
FIRST = "conv1.weight"
NESTED = ("state_dict", "model", "encoder")
"""Where files keep the weights beside other things."""


@dataclass(frozen=True)
class InitialWeights:
    """Where weights lie, and what they are."""

    address: str
    name: str
    """For a person; default: the file's name."""
    digest: str = ""
    """The first digits of the file's SHA-256; empty while nobody has looked."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of a text; BadInputError for one without an address."""
        address, _, fragment = text.partition("#")
        if not address:
            raise BadInputError(f"initial_weights: {text!r} names no file")
        parts = parse_qs(fragment)
        name = parts.get("name", [PurePosixPath(address).stem])[0]
        return cls(address, unquote(name), parts.get("sha256", [""])[0])

    def __str__(self) -> str:
        return f"{self.address}#name={quote(self.name)}" + (f"&sha256={self.digest}" if self.digest else "")

    def absolute(self) -> Self:
        """Return the same with an address that means the same everywhere on this machine."""
        address = self.address if "://" in self.address else str(Path(self.address).expanduser().absolute())
        return replace(self, address=address)

    def pinned(self) -> Self:
        """Return the same with the digest of what the file holds now; BadInputError where it can't be read."""
        return replace(self.absolute(), digest=_digest(self._content()))

    def load(self) -> "dict[str, Tensor]":
        """Return the encoder's weights under torchvision's names; BadInputError where they aren't what they were."""
        content = self._content()
        if self.digest and _digest(content) != self.digest:
            now = _digest(content)
            raise BadInputError(
                f"initial_weights: {self.address} has changed: sha256 {now}, {self.digest} when it was planned"
            )
        return encoder_weights(_read(self.address, content), self.address)

    def _content(self) -> bytes:
        from trainables.storage.filesystem import Storage

        folder, _, file = self.address.rpartition("/")
        try:
            content = Storage.at(folder or ("/" if self.address.startswith("/") else ".")).read(file)
        except OSError as error:
            raise BadInputError(f"initial_weights: {self.address}: can't be read ({error})") from error
        if content is None:
            raise BadInputError(f"initial_weights: {self.address}: no such file")
        return content


def encoder_weights(state: Mapping[str, Any], address: str) -> "dict[str, Tensor]":
    """Return what belongs to a ResNet of a file's state, without what wrappers put before its names.

    Of a momentum encoder's file the first of its encoders; BadInputError where there is none.
    """
    for key in NESTED:
        if isinstance(state.get(key), Mapping):
            return encoder_weights(state[key], address)
    firsts = [name for name in state if name == FIRST or name.endswith("." + FIRST)]
    firsts = [name for name in firsts if ".layer" not in f".{name}"]
    if not firsts:
        raise BadInputError(
            f"initial_weights: {address}: holds no {FIRST}; give a trial's model.pt, or a state dict of a torchvision "
            "or timm ResNet"
        )
    prefix = firsts[0].removesuffix(FIRST)
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def start_from(encoder: "Encoder", weights: "Mapping[str, Tensor]", source: str) -> None:
    """Put weights into an encoder, with how they had channels normalised, in place; heads are left out.

    BadInputError that names what doesn't fit.
    """
    from trainables.models.encoder import Normalise

    if "normalise.mean" in weights:
        encoder.normalise = Normalise(weights["normalise.mean"], weights["normalise.deviation"]).to(
            encoder.conv1.weight.device
        )
    own = encoder.state_dict()
    wanted = [name for name in own if not name.endswith("num_batches_tracked")]
    if "normalise.mean" not in weights:
        wanted = [name for name in wanted if not name.startswith("normalise.")]
    faults = [
        f"{name} is {tuple(weights[name].shape)}, the trial's {tuple(own[name].shape)}"
        for name in wanted
        if name in weights and weights[name].shape != own[name].shape
    ]
    faults += [f"{name} is missing" for name in wanted if name not in weights]
    # Deeper or wider than the encoder: the rest would be dropped in silence.
    faults += [f"{name} is too much" for name in weights if name.startswith("layer") and name not in own]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise BadInputError(
            f"initial_weights: {source} doesn't fit: {'; '.join(faults[:3])}{more}; set encoder, width_factor, stem "
            "and the data's channels as the weights have them"
        )
    encoder.load_state_dict({name: weights[name] for name in wanted}, strict=False)


def _read(address: str, content: bytes) -> Mapping[str, Any]:
    if address.endswith(".safetensors"):
        try:
            from safetensors.torch import load
        except ModuleNotFoundError as error:
            raise BadInputError(
                f"initial_weights: {address}: needs safetensors: pip install 'sweep-service[export]'"
            ) from error
        tensors: Mapping[str, Any] = load(content)
        return tensors
    import torch

    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a torn or foreign file raises whatever the unpickler meets
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInputError(f"initial_weights: {address}: isn't a file of weights alone ({reason})") from error
    if not isinstance(state, Mapping):
        raise BadInputError(f"initial_weights: {address}: holds a {type(state).__name__}, not a state dict")
    return state


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]
