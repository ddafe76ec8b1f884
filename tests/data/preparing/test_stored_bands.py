"""What a store says of its bands: names, wavelengths, resolution, and the reflectance of a stored value."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.sample_data import write_eurosat, write_eurosat_ms
from support.stores import made

from sweep.data import main
from trainables.data.bands import SENTINEL_2, SpectralBand, colour_channels, named_bands
from trainables.data.class_names import EUROSAT_BANDS
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError


def run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


def raw_values(folder: Path, store: ImageStore) -> np.ndarray:
    """The digital numbers of a store's images in the order of its rows, (N, 64, 64, 13)."""
    names = store.names(range(len(store)))
    paths = {path.name: path for path in folder.rglob("*.tif")}
    return np.stack([tifffile.imread(paths[name]) for name in names])


@pytest.mark.parametrize(
    ("options", "clip", "step"),
    [
        ({"pixels": "none"}, (0, 65535), 1e-9),
        ({"pixels": "thesis"}, (0, 1999), 0.2 / 255 * 1.001),  # truncated
        ({"pixels": "reflectance"}, (0, 10_000), 1e-5),
        ({"pixels": "percentiles"}, None, 0.4 / 255 * 0.501),
    ],
)
def test_a_stored_value_gives_back_the_reflectance(
    options: dict[str, str], clip: tuple[int, int] | None, step: float, tmp_path: Path
) -> None:
    folder = write_eurosat_ms(tmp_path)
    store = made("eurosat_ms", tmp_path / "out", source=folder, bands=("all",), **options)
    bands = store.info.bands
    assert [band.name for band in bands] == list(EUROSAT_BANDS)
    assert bands[0].wavelength == SENTINEL_2["B01"].wavelength
    assert [band.resolution for band in bands] == [60, 10, 10, 10, 20, 20, 20, 10, 60, 60, 20, 20, 20]
    scale, offset = (np.array([getattr(band, part) for band in bands], dtype=float) for part in ("scale", "offset"))
    found = store.images(range(len(store))).numpy() * scale + offset
    raw = raw_values(folder, store).astype(float)
    if clip is None:
        ranges = PixelRecipe.of(store.info).ranges
        clipped = np.clip(raw, [low for low, _ in ranges], [high for _, high in ranges])
    else:
        clipped = np.clip(raw, *clip)
    assert np.abs(found - clipped / 1e4).max() <= step


def test_baseline_4_is_a_stated_offset_and_part_of_the_identity(tmp_path: Path) -> None:
    folder = write_eurosat_ms(tmp_path)
    plain = made("eurosat_ms", tmp_path / "a", source=folder, pixels="reflectance")
    moved = made("eurosat_ms", tmp_path / "b", source=folder, pixels="reflectance", reflectance=(10_000.0, -1000.0))
    assert plain.info.options["reflectance"] == "10000,0"
    assert moved.info.options["reflectance"] == "10000,-1000"
    assert plain.fingerprint != moved.fingerprint
    raw = raw_values(folder, moved)[..., [EUROSAT_BANDS.index(band) for band in ("B04", "B03", "B02")]]
    wanted = np.rint(np.clip((raw.astype(float) - 1000) / 10_000, 0, 1) * 65535)
    np.testing.assert_array_equal(moved.images(range(len(moved))).numpy(), wanted)
    recipe = PixelRecipe.of(moved.info)
    assert PixelRecipe.read(json.loads(json.dumps(recipe.written()))) == recipe
    scene = np.full((64, 64, 3), 3000, dtype=np.uint16)
    for already, value in ((False, 0.2), (True, 0.3)):  # true: the scene's metadata had the offset added
        made_pixels = recipe.conversion(64, found="uint16", wanted="uint16", moved=already)(scene)
        assert (made_pixels == round(value * 65535)).all()


def test_a_store_of_an_earlier_version_tells_its_bands_by_its_options(tmp_path: Path) -> None:
    pictures = made("eurosat", tmp_path / "out", source=write_eurosat(tmp_path)).info
    spectral = made("eurosat_ms", tmp_path / "out", source=write_eurosat_ms(tmp_path), bands=("B02", "B8a")).info
    for info in (pictures, spectral):
        path = tmp_path / "out" / info.name / "store.json"
        fields = json.loads(path.read_text())
        assert fields.pop("bands")
        path.write_text(json.dumps(fields))
        old = StoreInfo.read(info.name, tmp_path / "out")
        assert old is not None
        assert [band.name for band in old.channel_bands] == [band.name for band in info.bands]
    assert [band.name for band in pictures.channel_bands] == ["red", "green", "blue"]
    assert pictures.colours == (0, 1, 2)
    assert spectral.colours is None
    assert [band.name for band in spectral.channel_bands] == ["B02", "B8A"]


def test_own_files_name_their_bands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(8):
        path = tmp_path / "own" / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 4000, (4, 8, 8), dtype=np.uint16)
        tifffile.imwrite(path, pixels, photometric="minisblack")
    arguments = ["prepare", "folder", "--source", str(tmp_path / "own"), "--root", str(tmp_path / "out")]
    run([*arguments, "--as", "own", "--bands", "B2,B3,B4,nir"])
    assert "bands: B02 (492.4 nm, 10 m), B03 (559.8 nm, 10 m), B04 (664.6 nm, 10 m), nir" in capsys.readouterr().out
    info = StoreInfo.read("own", tmp_path / "out")
    assert info is not None
    assert info.colours == (2, 1, 0)
    assert info.bands[0].scale is None
    run(["info", "own", "--root", str(tmp_path / "out")])
    assert "B03(559.8nm,10m)" in "".join(capsys.readouterr().out.split())
    with pytest.raises(BadInputError, match="--bands B02,B03: names 2 bands, the images have 4 channels"):
        prepare("folder", source=tmp_path / "own", root=tmp_path / "other", bands=("B2", "B3"))


def test_colours_by_name_wherever_they_are() -> None:
    assert colour_channels(named_bands(["B02", "B08", "B03", "B4"])) == (3, 2, 0)
    assert colour_channels(named_bands(["B02", "B03"])) is None
    assert SpectralBand(name="red").same_as(SENTINEL_2["B04"])
    assert not SpectralBand(name="red").same_as(SENTINEL_2["B03"])
