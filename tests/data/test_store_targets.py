"""The targets of a store: names of positive classes, checked and expanded."""

import pytest

from trainables.data.dataset_facts import KNOWN
from trainables.data.store_targets import expand_positive
from trainables.errors import BadInputError


def test_positive_names_are_checked_and_expanded_in_class_order() -> None:
    eurosat = KNOWN["eurosat"]
    assert expand_positive(eurosat, ("Forest", "farmland", "Pasture")) == (
        "AnnualCrop",
        "Forest",
        "Pasture",
        "PermanentCrop",
    )
    with pytest.raises(BadInputError, match=r"positive 'Wood': neither .* rules: farmland; classes: 'AnnualCrop'"):
        expand_positive(eurosat, ("Wood",))
