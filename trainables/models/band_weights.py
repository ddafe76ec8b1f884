"""Adaptation of a stem's weights to other bands: from RGB to any bands, and from many bands to fewer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainables.data.bands import (
    COLOURS,
    SENTINEL_2,
    EncoderInputs,
    SpectralBand,
    band_names,
    named_bands,
    other_reflectance,
)
from trainables.errors import BadInputError
from trainables.weights.catalog import CATALOG, CatalogEntry
from trainables.weights.initial_weights import InitialWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

STEM = "conv1.weight"
MEAN, DEVIATION, LIMITS = "normalise.mean", "normalise.deviation", "normalise.limits"


def fitted_to_bands(
    weights: "Mapping[str, Tensor]",
    initial: InitialWeights,
    pixels: EncoderInputs,
    stated: EncoderInputs | None = None,
) -> "Mapping[str, Tensor]":
    """Return weights whose stem takes a store's pixels.

    The bands of the weights are those of the catalogue, of `#bands=`, or `stated` in the file; three without a name are
    red, green and blue. Weights of the catalogue bring their normalisation.

    Args:
        weights: Weights of an encoder, by torchvision's names.
        initial: Address and name of the weights.
        pixels: Pixels that the trial trains on.
        stated: Pixels that the weights were trained on; None if the file doesn't state them.

    Raises:
        BadInputError: Bands or scale don't fit.
    """
    entry, wanted = initial.entry, pixels.bands
    names = entry.bands if entry is not None else initial.bands
    inputs = weights[STEM].shape[1]
    own = named_bands(names or (COLOURS if inputs == len(COLOURS) else ()))
    if stated is not None and entry is None:
        _refuse_other_values(initial.address, stated, pixels)
        own = own if names else named_bands(band_names(stated.bands))
    if own and len(own) != inputs:
        raise BadInputError(
            f"initial_weights: {initial.address}: {len(own)} bands are named "
            f"({', '.join(band.name for band in own)}), its stem takes {inputs}"
        )
    _refuse_other_sensor(initial.address, own if names or stated is None else stated.bands, wanted)
    found = dict(weights)
    if entry is not None:
        found |= published_normalisation(entry, own, wanted, pixels.full)
    if not own:
        if inputs != len(wanted):
            raise BadInputError(
                f"initial_weights: {initial.address}: its stem takes {inputs} bands, the images have {len(wanted)}; "
                "name its bands in their order: FILE#bands=B02,B03,..."
            )
        return found
    if len(own) == len(wanted) and all(one.same_as(other) for one, other in zip(own, wanted, strict=True)):
        return found
    if entry is None:  # how other bands were normalised says nothing of these
        found = {name: tensor for name, tensor in found.items() if name not in (MEAN, DEVIATION, LIMITS)}
    return {**found, STEM: fitted_stem(weights[STEM], own, wanted)}


def _refuse_other_values(address: str, stated: EncoderInputs, pixels: EncoderInputs) -> None:
    """Raise BadInputError if weights were trained on pixels of another reflectance, or of other bits."""
    told = other_reflectance(stated, pixels)
    known = all(band.scale is not None for band in (*stated.bands, *pixels.bands))
    if told is None and stated.full != pixels.full and not known:
        told = f"values of {stated.full.bit_length()} bits", f"{pixels.full.bit_length()} bits"
    if told is not None:
        raise BadInputError(
            f"initial_weights: {address}: was trained on {told[0]}, the images have {told[1]}; prepare them with the "
            "--pixels of the data that it was trained on"
        )


def _refuse_other_sensor(address: str, own: Sequence[SpectralBand], wanted: Sequence[SpectralBand]) -> None:
    """Raise BadInputError if weights were trained on Sentinel-2's bands and the images have Landsat's, or vice versa.

    Landsat's B5 is near infrared and Sentinel-2's a red edge; only red, green and blue are the same in both.
    """
    for name, landsat, others in (("the images", wanted, own), ("the weights", own, wanted)):
        foreign = [band.name for band in landsat if band.is_landsat]
        if foreign and any(band.name in SENTINEL_2 for band in others):
            raise BadInputError(
                f"initial_weights: {address}: {', '.join(foreign)} of {name} are Landsat's, and others "
                f"({', '.join(band.name for band in others)}) Sentinel-2's, which measure other parts of the spectrum; "
                "train on red, green and blue alone (bands=...), or take weights of pictures or of the same sensor"
            )


def fitted_stem(stem: "Tensor", own: Sequence[SpectralBand], wanted: Sequence[SpectralBand]) -> "Tensor":
    """Return the kernels (O, len(wanted), k, k) of a stem (O, len(own), k, k): each band's own, or the mean of all.

    They are multiplied by len(own) / len(wanted), so that bands that vary together give activations of the same scale.
    """
    import torch

    mean = stem.mean(dim=1)
    kernels = []
    for band in wanted:
        place = _place(band, own)
        kernels.append(mean if place is None else stem[:, place])
    return torch.stack(kernels, dim=1) * (len(own) / len(wanted))


def published_normalisation(
    entry: CatalogEntry, own: Sequence[SpectralBand], wanted: Sequence[SpectralBand], full: float
) -> "dict[str, Tensor]":
    """Return the normalisation that maps pixels in [0, 1] to the inputs of published weights.

    A band that the weights lack gets the mean of their bands.

    Returns:
        Mean and standard deviation (C,) and, if values are clamped before, lowest and highest ones (2, C): by the names
        of an encoder's state.

    Raises:
        BadInputError: The store's scale differs from that of the weights.
    """
    import torch

    _check_scale(entry, wanted, full)
    picture = entry.scale == "picture"
    scales = np.array([1.0 if picture else (band.scale or 1.0) * full for band in wanted])
    offsets = np.array([0.0 if picture else band.offset for band in wanted])
    places = [_place(band, own) for band in wanted]

    def of_bands(values: Sequence[float]) -> "NDArray[np.float64]":
        mean = sum(values) / len(values)
        return np.array([mean if place is None else values[place] for place in places])

    found = {MEAN: (of_bands(entry.mean) - offsets) / scales, DEVIATION: of_bands(entry.deviation) / scales}
    if entry.limits is not None:
        found[LIMITS] = np.stack([(of_bands(ends) - offsets) / scales for ends in entry.limits])
    return {name: torch.from_numpy(values) for name, values in found.items()}


def _check_scale(entry: CatalogEntry, wanted: Sequence[SpectralBand], full: float) -> None:
    unknown = next((band.name for band in wanted if band.scale is None), None)
    fitting = [one.name for one in CATALOG.values() if full == 255.0 or one.scale == "reflectance"]
    fitting = [name for name in fitting if unknown is None or CATALOG[name].scale == "picture"]
    if entry.name in fitting:
        return
    advice = f"or take weights that fit: {', '.join(fitting)}" if fitting else "no weights of the catalogue fit them"
    if entry.scale == "picture":
        raise BadInputError(
            f"initial_weights: {entry.name}: was trained on pictures of 8 bits, the images have 16; prepare them with "
            f"--pixels thesis or percentiles; {advice}"
        )
    raise BadInputError(
        f"initial_weights: {entry.name}: was trained on reflectance, which is unknown for {unknown}; prepare the "
        f"images with --pixels reflectance; {advice}"
    )


def _place(band: SpectralBand, own: Sequence[SpectralBand]) -> int | None:
    return next((place for place, one in enumerate(own) if one.same_as(band)), None)
