"""Loading of an encoder's initial weights (trainables/weights/initial_weights.py).

The file is a finished trial's model.pt, or a state dict of a torchvision or timm ResNet (.pt, .pth, .safetensors), for
example pretrained on ImageNet or on Sentinel-2 images.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainables.data.bands import EncoderInputs
from trainables.errors import BadInputError
from trainables.models.weights_file import read_state
from trainables.weights.initial_weights import InitialWeights

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.models.encoder import Encoder

FIRST = "conv1.weight"
COMPANIONS = ("encoder_k.", "momentum", "target", "student", "ema.")
"""Parts of the prefixes of encoders that accompany the one that is meant."""
LAYERS = 4
ENCODER = re.compile(r"(conv1|bn1|normalise|layer[1-4])\.")
"""Parameter names of a ResNet's encoder, as torchvision has them."""
HEAD = re.compile(r"(^|[._])(fc|heads?|classifier|proj\w*|predict\w*|probe|mlp|queue\w*|prototypes)\b")
"""Parameter names of what follows an encoder, which isn't loaded."""
OTHERS = {
    ".conv1.0.weight": "a ResNet with a deep stem (conv1.0.weight)",
    ".patch_embed.": "a vision transformer",
    ".cls_token": "a vision transformer",
    ".encoder.layers.encoder_layer_0.": "a vision transformer",
    ".embedder.embedder.": "a ResNet under the names of Hugging Face's transformers",
    ".stem.0.weight": "a ConvNeXt",
    ".conv_stem.": "an EfficientNet",
    ".features.0.": "a torchvision model that is no ResNet",
}
"""Parameter names by which networks other than supported ResNets are recognised."""


def load_weights(initial: InitialWeights) -> "tuple[dict[str, Tensor], EncoderInputs | None]":
    """Return the encoder's weights under torchvision's names, and the pixels that it was trained on.

    Only a trial's model.pt states these pixels. BadInputError if the file changed since planning.
    """
    state, inputs = read_state(initial.content(), initial.address)
    return encoder_weights(state, initial.address), inputs


def encoder_weights(state: "Mapping[str, Tensor]", address: str) -> "dict[str, Tensor]":
    """Return the ResNet's weights in a file's state, without the prefixes that wrappers add to names.

    For a file with a momentum encoder or a student, the other encoder is returned.

    Raises:
        BadInputError: The state holds no supported ResNet, or several that may be meant.
    """
    state = _named(state)
    firsts = [name for name in state if name == FIRST or name.endswith("." + FIRST)]
    firsts = [name for name in firsts if ".layer" not in f".{name}"]
    if not firsts:
        what = next((words for part, words in OTHERS.items() if any(part in f".{name}" for name in state)), "")
        raise BadInputError(
            f"initial_weights: {address}: holds no {FIRST}{what and f': it is {what}'}; give a trial's model.pt, or a "
            "state dict of a torchvision or timm ResNet"
        )
    prefixes = [first.removesuffix(FIRST) for first in firsts]
    meant = [prefix for prefix in prefixes if not any(word in prefix for word in COMPANIONS)] or prefixes[:1]
    if len(meant) > 1:
        raise BadInputError(
            f"initial_weights: {address}: holds several encoders "
            f"({', '.join(one or 'without prefix' for one in meant)}); save the one to use in its own file"
        )
    prefix = meant[0]
    own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    if flat := next((name for name, tensor in own.items() if ENCODER.match(name) and _is_flat(tensor)), None):
        raise BadInputError(
            f"initial_weights: {address}: {flat} has one value everywhere ({own[flat].flatten()[0].item() + 0.0:g}): "
            "never trained, or damaged; download it again, or give another file"
        )
    return own


def unused_names(weights: "Mapping[str, Tensor]") -> list[str]:
    """Return the names of tensors that are part of neither a ResNet nor a usual head, and are not loaded."""
    return sorted(name for name in weights if not ENCODER.match(name) and not HEAD.search(name))


def _is_flat(tensor: "Tensor") -> bool:
    """Whether a convolution has one value everywhere."""
    return tensor.dim() > 1 and tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all())


def _named(state: "Mapping[str, Tensor]") -> "Mapping[str, Tensor]":
    """Return a state under torchvision's names if a Sequential numbered its modules, as in lightly's examples."""
    convolutions = [name for name in state if re.search(r"(?:^|\.)0\.weight$", name) and state[name].dim() == 4]
    for first in convolutions:
        prefix = first.removesuffix("0.weight")
        blocks = {name[len(prefix) :].split(".")[0] for name in state if _begins_layer(name, prefix)}
        if f"{prefix}1.running_mean" in state and len(blocks) == LAYERS:
            order = enumerate(sorted(blocks, key=int), start=1)
            parts = {"0": "conv1", "1": "bn1", **{number: f"layer{k}" for k, number in order}}
            return {
                ".".join([parts[number], rest]): tensor
                for name, tensor in state.items()
                if name.startswith(prefix)
                for number, _, rest in [name[len(prefix) :].partition(".")]
                if number in parts
            }
    return state


def _begins_layer(name: str, prefix: str) -> bool:
    return re.fullmatch(re.escape(prefix) + r"\d+\.0\.conv1\.weight", name) is not None


def start_from(encoder: "Encoder", weights: "Mapping[str, Tensor]", source: str) -> None:
    """Load weights into an encoder in place, with their channel normalisation; heads are ignored.

    Raises:
        BadInputError: Names the weights that don't fit the encoder.
    """
    from trainables.models.encoder import ChannelNormalisation

    normalise = ChannelNormalisation.of(weights)
    if normalise is not None:
        encoder.normalise = normalise.to(encoder.conv1.weight.device)
    wanted = check_fit(encoder, weights, source)
    encoder.load_state_dict({name: weights[name] for name in wanted}, strict=False)


def check_fit(encoder: "Encoder", weights: "Mapping[str, Tensor]", source: str) -> list[str]:
    """Return the names of the weights that an encoder takes; BadInputError names those that don't fit it."""
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
    # Deeper or wider than the encoder, or with a longer stem: the rest would be dropped in silence.
    faults += [f"{name} is too much" for name in weights if re.match(r"layer|conv\d|bn\d", name) and name not in own]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise BadInputError(
            f"initial_weights: {source} doesn't fit: {'; '.join(faults[:3])}{more}; set encoder, width_factor, stem "
            "and the data's channels as the weights have them"
        )
    return wanted
