"""JPEG 2000 files that were cut: refused when they are opened, since GDAL reads their missing tiles as 0."""

from pathlib import Path

import numpy as np
import pytest
from support.scenes import write_scene

from sweep.maps.jpeg2000 import check_complete
from sweep.maps.open_scene import open_scene
from trainables.errors import BadInputError


@pytest.fixture
def tiled(tmp_path: Path) -> Path:
    """A band of tiles, as Sentinel-2's are."""
    values = np.random.default_rng(0).integers(1001, 4000, (256, 256, 1)).astype(np.uint16)
    return write_scene(
        tmp_path / "T34VER_20170613T101031_B04_10m.jp2",
        values,
        driver="JP2OpenJPEG",
        QUALITY="100",
        REVERSIBLE="YES",
        BLOCKXSIZE=64,
        BLOCKYSIZE=64,
    )


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9, 0.999])
def test_a_file_of_an_interrupted_download_is_refused_by_name(tiled: Path, share: float) -> None:
    content = tiled.read_bytes()
    tiled.write_bytes(content[: int(len(content) * share)])
    words = r"_B04_10m.jp2: (is cut: it ends before its image does|can't be read .*); fetch it again"
    with pytest.raises(BadInputError, match=words), open_scene(tiled.parent, ("B04",), 1) as scene:
        scene.window((0, 256), (0, 256), "nearest")


def test_what_is_whole_or_no_jpeg_2000_is_left_to_gdal(tiled: Path, tmp_path: Path) -> None:
    content = tiled.read_bytes()
    check_complete(tiled)
    start = content.index(b"\xff\x4f\xff\x51")
    lengths = {"of 0": b"\0\0\0\0jp2c", "of 64 bits": b"\0\0\0\1jp2c" + (len(content) - start + 16).to_bytes(8, "big")}
    boxes = content[: start - 8]
    for name, header in lengths.items():
        path = tmp_path / f"{name}.jp2"
        path.write_bytes(boxes + header + content[start:])
        check_complete(path)
        path.write_bytes(boxes + header + content[start:-200])
        with pytest.raises(BadInputError, match="is cut"):
            check_complete(path)
    for other in (content[start:], b"<html>no image</html>", b""):
        (tmp_path / "other.jp2").write_bytes(other)
        check_complete(tmp_path / "other.jp2")
