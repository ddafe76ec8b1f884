"""Numbers of a trial's train and validation images; light, as planning imports it."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class ImageCounts:
    """Numbers of images of a trial.

    Attributes:
        train: Number of train images, after the validation slice and the limit.
        labelled: Number of those that have labels; a fraction if it is estimated.
        validation: Number of images in the slice that is held out of train.
        places: Number of places in train, and of those held out whole; None if images are held out one by one.
        whole: What a place is: block, tile or place; empty if images are held out one by one.
        left_out: Number of train images left out between train and validation.
        validated: Number of the slice's images that have labels; None if it isn't counted.
    """

    train: int
    labelled: int | Fraction
    validation: int
    places: tuple[int, int] | None = None
    whole: str = ""
    left_out: int = 0
    validated: int | None = None
