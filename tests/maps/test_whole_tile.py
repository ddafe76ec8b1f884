"""A whole tile as a map, in memory that doesn't grow with it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from support.paths import ROOT
from support.sample_data import sample_folder
from support.scenes import PLACE, UTM, Pixels, write_model

from trainables.data.class_names import RGB_BANDS

# Linux counts what the parent held in a child's getrusage, not in its VmHWM.
MEASURED = """
import re, sys
from pathlib import Path
from sweep.maps.scene_map import write_map
from sweep.maps.map_plan import MapOptions
write_map(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), MapOptions(overlap=0.1))
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def tiled(path: Path, patches: list[Pixels], side: int) -> Path:
    """Write a square scene of real patches side by side, row by row."""
    shape = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint16", "nodata": 0}
    blocks = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    with rasterio.open(path, "w", **shape, **blocks, crs=UTM, transform=PLACE) as file:
        number = 0
        for top in range(0, side, 120):
            row = []
            for _ in range(0, side, 120):
                row.append(patches[number % len(patches)])
                number += 1
            strip = np.concatenate(row, axis=1)[: side - top, :side]
            file.write(np.moveaxis(strip, -1, 0), window=((top, top + len(strip)), (0, side)))
    return path


@pytest.mark.slow
def test_a_whole_tile_takes_no_more_memory_than_its_strips(tmp_path: Path) -> None:
    folder = sample_folder("bigearthnet-s2-v1") / "BigEarthNet-v1.0"
    patches = []
    for patch in sorted(folder.iterdir())[:150]:
        bands = []
        for band in RGB_BANDS:
            with Image.open(patch / f"{patch.name}_{band}.tif") as image:
                bands.append(np.asarray(image).astype(np.uint16))
        patches.append(np.stack(bands, axis=-1))
    model = write_model(tmp_path / "model", 120)
    peaks = {}
    for side in (1_200, 10_980):
        scene = tiled(tmp_path / f"{side}.tif", patches, side)
        command = [sys.executable, "-c", MEASURED, str(model), str(scene), str(tmp_path / "map.tif")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        peaks[side] = int(done.stdout.split()[-1]) / 1024
    facts = json.loads((tmp_path / "map.json").read_text())
    assert facts["size"] == [10_980, 10_980]
    assert facts["valid"]["hectares"] == pytest.approx(10_980**2 / 100, rel=1e-3)
    print(peaks)
    # The scene's values are 690 MiB, the map's 920; of either only strips and GDAL's bounded cache are in memory.
    assert peaks[10_980] - peaks[1_200] < 400, peaks
