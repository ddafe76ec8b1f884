"""Numbers of images that shares stand for: of the decimal that was written, rounded up."""

import math
from fractions import Fraction

import numpy as np
import pytest

from trainables.data.share_count import share_count


def test_a_share_counts_as_the_decimal_that_was_written() -> None:
    assert math.ceil(0.07 * 100) == 8
    assert [share_count(share, 100) for share in (0.07, 0.14, 0.28, 0.55, 0.56)] == [7, 14, 28, 55, 56]
    assert share_count(0.1, Fraction(31, 3)) == 2
    assert share_count(1e-9, 100) == 1
    assert share_count(1, 100) == 100


@pytest.mark.parametrize("images", [1, 7, 99, 100, 1425, 109_830])
def test_it_is_the_rounded_product_where_that_was_exact(images: int) -> None:
    random = np.random.default_rng(images)
    for share in [0.01, 0.1, 0.25, 0.5, 1.0, *random.random(200).tolist()]:
        exact = Fraction(str(share)) * images
        product = share * images
        if Fraction(product) == exact or abs(product - round(product)) > 1e-9 * images:
            assert share_count(share, images) == math.ceil(product)
        assert 0 <= share_count(share, images) - exact < 1
