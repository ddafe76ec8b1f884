"""Adaptation of a stem's weights to other bands: from RGB to any bands, and from many bands to fewer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainables.data.bands import COLOURS, SpectralBand, named_bands
from trainables.errors import BadInputError
from trainables.initial_weights import InitialWeights
from trainables.weights_catalog import CatalogEntry

if TYPE_CHECKING:
    from torch import Tensor

STEM = "conv1.weight"
MEAN, DEVIATION = "normalise.mean", "normalise.deviation"


def fitted_to_bands(
    weights: "Mapping[str, Tensor]", initial: InitialWeights, wanted: Sequence[SpectralBand], full: float
) -> "Mapping[str, Tensor]":
    """Return weights whose stem takes the bands `wanted`, stored with `full` as their largest value.

    The bands of the weights are those of the catalogue or of `#bands=`; three without a name are red, green and blue.
    Weights of the catalogue bring their normalisation. Raises BadInputError where bands or scale don't fit.
    """
    entry = initial.entry
    names = entry.bands if entry is not None else initial.bands
    inputs = weights[STEM].shape[1]
    own = named_bands(names or (COLOURS if inputs == len(COLOURS) else ()))
    if own and len(own) != inputs:
        raise BadInputError(
            f"initial_weights: {initial.address}: {len(own)} bands are named ({', '.join(names)}), its stem takes "
            f"{inputs}"
        )
    found = dict(weights)
    if entry is not None:
        found[MEAN], found[DEVIATION] = published_normalisation(entry, own, wanted, full)
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
        found = {name: tensor for name, tensor in found.items() if name not in (MEAN, DEVIATION)}
    return {**found, STEM: fitted_stem(weights[STEM], own, wanted)}


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
) -> "tuple[Tensor, Tensor]":
    """Return mean and standard deviation (C,) that map pixels in [0, 1] to the inputs of published weights.

    A band that the weights lack gets the mean of their bands.

    Raises:
        BadInputError: The store's scale differs from that of the weights.
    """
    import torch

    _check_scale(entry, wanted, full)
    means, deviations = [], []
    for band in wanted:
        place = _place(band, own)
        mean = entry.mean[place] if place is not None else sum(entry.mean) / len(entry.mean)
        deviation = entry.deviation[place] if place is not None else sum(entry.deviation) / len(entry.deviation)
        scale, offset = (1.0 / full, 0.0) if entry.scale == "picture" else (band.scale or 1.0, band.offset)
        means.append((mean - offset) / (scale * full))
        deviations.append(deviation / (scale * full))
    return torch.tensor(means, dtype=torch.float64), torch.tensor(deviations, dtype=torch.float64)


def _check_scale(entry: CatalogEntry, wanted: Sequence[SpectralBand], full: float) -> None:
    if entry.scale == "picture" and full != 255.0:
        raise BadInputError(
            f"initial_weights: {entry.name}: was trained on pictures of 8 bits, the images have 16; prepare them with "
            "--pixels thesis or percentiles, or take weights of reflectance (python -m sweep.weights list)"
        )
    if entry.scale == "reflectance" and (unknown := [band.name for band in wanted if band.scale is None]):
        raise BadInputError(
            f"initial_weights: {entry.name}: was trained on reflectance, which is unknown for {unknown[0]}; "
            "prepare the images with --pixels reflectance, or take weights of pictures (python -m sweep.weights list)"
        )


def _place(band: SpectralBand, own: Sequence[SpectralBand]) -> int | None:
    return next((place for place, one in enumerate(own) if one.same_as(band)), None)
