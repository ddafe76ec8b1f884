"""What several test files share: one small store of real images, which every installation has."""

import pytest

from trainables.data.prepare import prepare
from trainables.data.store import ImageStore


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """Digits: 1,797 scans of 8 x 8 pixels, ten classes."""
    root = tmp_path_factory.mktemp("data")
    prepare("digits", root=root)
    return ImageStore.open("digits", root)
