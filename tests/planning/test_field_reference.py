"""Fields of a trial as a person reads them: complete, in groups, and docs/settings.md is current."""

from itertools import groupby

import pytest
from support.paths import ROOT

from sweep.planning.field_reference import field_references, settings_page
from sweep.planning.space_schema import space_schema
from sweep.run import main
from trainables.config import TrialConfig


def test_every_field_has_a_group_and_a_meaning_and_groups_are_adjacent() -> None:
    references = field_references()
    assert [one.field for one in references] == list(TrialConfig.model_fields)
    assert all(one.group and one.meaning and one.default for one in references)
    groups = [group for group, _ in groupby(references, key=lambda one: one.group)]
    assert len(groups) == len(set(groups)) < 12


def test_a_field_says_default_unit_limits_and_published_values() -> None:
    fields = {one.field: one for one in field_references()}
    size = fields["image_size"]
    assert (size.default, size.unit, size.values, size.thesis) == ("64", "pixels", ">= 4", "64, 120")
    assert size.described == "side of the square views (pixels; thesis: 64, 120)"
    assert fields["jitter_operations"].values == "brightness, contrast, saturation, hue"
    assert fields["validation_fraction"].values == ">= 0, < 1"
    assert fields["projector_hidden_width"].default == "none"
    assert fields["calibrate_batch_norm"].default == "false"


def test_the_settings_page_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_page(), "run `make docs`"


def test_the_command_prints_the_fields_and_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main(fields=True)
    printed = capsys.readouterr().out
    assert all(name in printed for name in TrialConfig.model_fields)
    assert "Optimisation" in printed
    assert "0.25, 0.5" in printed


def test_the_schema_of_spaces_describes_fields_with_their_units() -> None:
    assert space_schema()["properties"]["base"]["properties"]["image_size"]["description"].endswith("thesis: 64, 120)")
