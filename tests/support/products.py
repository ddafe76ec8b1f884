"""Imitations of Sentinel-2 products: folders .SAFE with JPEG 2000 bands of three resolutions, metadata and an SCL."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import from_origin

from support.scenes import UTM, write_scene

METRES = {"B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B08": 10, "B11": 20}
LEFT, TOP = 499_980.0, 7_000_020.0
OFFSETS = '<BOA_ADD_OFFSET band_id="{}">-1000</BOA_ADD_OFFSET>'


def band_values(name: str, side: int, seed: int = 0) -> NDArray[np.uint16]:
    """Return values of a band, over a scene of `side` pixels of 10 m."""
    own = side * 10 // METRES[name]
    random = np.random.default_rng([seed, *name.encode()])
    return random.integers(1001, 4000, (own, own)).astype(np.uint16)


def write_product(
    root: Path,
    *,
    date: str = "20230613",
    tile: str = "T34VER",
    level: str = "L2A",
    side: int = 120,
    seed: int = 0,
    scl: NDArray[np.uint8] | None = None,
    left: float = LEFT,
    crs: CRS = UTM,
) -> Path:
    """Write a product of baseline 05.09; `scl` are classes of 20 m, vegetation by default, none at level 1C."""
    product = root / f"S2A_MSI{level}_{date}T101031_N0509_R022_{tile}_{date}T200000.SAFE"
    images = product / "GRANULE" / f"{level}_{tile}" / "IMG_DATA"
    names = {}
    for name, metres in METRES.items():
        folder = images / f"R{metres}m" if level == "L2A" else images
        suffix = f"_{metres}m.jp2" if level == "L2A" else ".jp2"
        names[folder / f"{tile}_{date}T101031_{name}{suffix}"] = (band_values(name, side, seed), metres)
    if level == "L2A":
        classes = np.full((side // 2, side // 2), 4, dtype=np.uint8) if scl is None else scl
        names[images / "R20m" / f"{tile}_{date}T101031_SCL_20m.jp2"] = (classes, 20)
    for path, (values, metres) in names.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        place = from_origin(left, TOP, metres, metres)
        write_scene(
            path, values[..., None], driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES", crs=crs, transform=place
        )
    (product / f"MTD_MSI{level}.xml").write_text("".join(OFFSETS.format(number) for number in range(13)))
    return product
