"""Views of images in batches on the device: what training sees, and what is evaluated."""

from trainables.augment.views import evaluation_view, joined_views, one_view, two_views

__all__ = ["evaluation_view", "joined_views", "one_view", "two_views"]
