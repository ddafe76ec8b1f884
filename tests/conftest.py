"""What several test files share: a small store of real images, which every installation has, and one of labels."""

import pytest
from sample_data import write_bigearthnet
from small_trials import LABELS

from trainables.data.prepare import prepare
from trainables.data.store import ImageStore


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """Digits: 1,797 scans of 8 x 8 pixels, ten classes."""
    root = tmp_path_factory.mktemp("data")
    prepare("digits", root=root)
    return ImageStore.open("digits", root)


@pytest.fixture(scope="session")
def patches(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """64 patches, three labels in use."""
    root = tmp_path_factory.mktemp("patches")
    source = write_bigearthnet(root, LABELS * 16)
    prepare("bigearthnet_v1", source=source, root=root / "out", splits="random", image_size=24)
    return ImageStore.open("bigearthnet_v1", root / "out")
