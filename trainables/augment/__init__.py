"""Augmented training views and evaluation views, computed in batches on the device."""

from trainables.augment.bicubic import crop_and_resize
from trainables.augment.evaluation_view import evaluation_matrices, evaluation_view
from trainables.augment.torch_ops import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    gaussian_blur,
    grayscale,
    jitter_colours,
    quarter_turns,
    unit_interval,
)
from trainables.augment.views import joined_views, one_view, two_views

__all__ = [
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "crop_and_resize",
    "evaluation_matrices",
    "evaluation_view",
    "gaussian_blur",
    "grayscale",
    "jitter_colours",
    "joined_views",
    "one_view",
    "quarter_turns",
    "two_views",
    "unit_interval",
]
