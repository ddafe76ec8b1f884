"""Contact sheets: augmented views from which something can be seen, and pairs of seasons at both dates."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from support.stores import made, of_seasons

from sweep.figures.contact_sheet import VIEWS, _config, _pairs, contact_sheet, draw
from sweep.figures.image_views import StorePictures
from trainables.config import TrialConfig
from trainables.data.patch_names import ground_and_date
from trainables.data.store import ImageStore
from trainables.errors import BadInputError


def captions(figure: Figure) -> tuple[list[str], list[str]]:
    """Return the words beside and below the views."""
    axes = figure.subfigs[1].axes[0]
    return tuple([one.get_text() for one in ticks] for ticks in (axes.get_yticklabels(), axes.get_xticklabels()))


def test_pairs_of_seasons_are_drawn_at_both_dates_with_their_dates(tmp_path: Path) -> None:
    store = of_seasons(tmp_path)
    config = _config("seasons", store, ["pairs=season"])
    train = store.split("train")
    pairs = _pairs(StorePictures(store, config, train), 0)
    assert set(pairs.ravel()) <= set(train)
    first, *others = (ground_and_date(name) for name in store.names(np.r_[pairs[0, :1], pairs[1]]))
    assert first is not None
    dates = []
    for other in others:
        assert other is not None
        assert other[0] == first[0]
        assert other[1] != first[1]
        dates.append(other[1])
    assert len(set(dates)) == 2
    sides, below = captions(contact_sheet(store, config))
    assert sides == [f"view a, {first[1]}", "view b, dates below"]
    assert below == dates
    plain = _config("seasons", store, [])
    assert (_pairs(StorePictures(store, plain, train), 7) == 7).all()
    assert captions(contact_sheet(store, plain)) == (["view a", "view b"], [])


def test_a_store_of_one_date_has_no_pairs_of_seasons(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    with pytest.raises(BadInputError, match=r"^pairs: 'season' needs train images of one place at two dates, and digi"):
        draw("digits", tmp_path / "a.png", ["pairs=season"], None)
    assert not any(tmp_path.iterdir())
    config = _config("digits", store, ["pairs=season"])  # at MLflow's run, that of a trial on another data set
    sheet = StorePictures(store, config, store.split("train"))
    assert _pairs(sheet, 3).tolist() == [[3] * VIEWS] * 2


def test_the_augmented_views_are_of_the_shown_image_with_the_most_contrast(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(4):
        path = tmp_path / "in" / ("test" if number == 3 else "train") / "a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        spread = 200 if number == 2 else 5
        Image.fromarray(random.integers(0, spread, (20, 20, 3)).astype(np.uint8)).save(path)
    store = made("folder", tmp_path, source=tmp_path / "in", store_name="calm")
    config = TrialConfig.parse({"dataset": "calm", "image_size": 20, "seed": 0})
    _, lower = contact_sheet(store, config).subfigs
    assert lower.get_suptitle() == "train/a/2.png: 8 pairs of augmented views"
