"""A scene that somebody else made: nothing is opened but the scene, and it unpacks to what its size allows."""

import importlib.util
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from rasterio.errors import RasterioIOError
from support.request_counter import Counter, request_counter
from support.scenes import PLACE, UTM, write_jp2, write_model, write_scene

import sweep.maps.raster_file as raster_file
from sweep.predict import main as predict
from trainables.data.sources.decode import decode_any
from trainables.errors import BadInputError

rasterio = pytest.importorskip("rasterio")
MINE, THEIRS = 40, 250
"""The scene's value, and that of another file of this machine."""
SIDE = 300
"""More pixels than the picture beside the map has: that is when overviews are looked for."""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    with request_counter(tmp_path_factory.mktemp("server") / "requests") as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model", side=150)


def scene(path: Path, value: int = MINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_scene(path, np.full((SIDE, SIDE, 3), value, np.uint8), compress="deflate")


def addresses(url: str, name: str) -> list[str]:
    wms = f"WMS:{url}/wms_{name}?SERVICE=WMS&VERSION=1.1.1&REQUEST=GetMap&LAYERS=x&SRS=EPSG:4326&BBOX=0,0,1,1"
    return [f"/vsicurl/{url}/curl_{name}.tif", f"{url}/http_{name}.tif", wms, f"/vsicurl_streaming/{url}/s_{name}.tif"]


def tag(path: Path, target: str) -> None:
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=target)


def tag_of_a_band(path: Path, target: str) -> None:
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, ns="OVERVIEWS", OVERVIEW_FILE=target)


def auxiliary(path: Path, target: str) -> None:
    written = target.replace("&", "&amp;")
    path.with_name(f"{path.name}.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{written}</MDI></Metadata></PAMDataset>'
    )


def vrt(width: int, target: str) -> str:
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource><SourceFilename>{target.replace("&", "&amp;")}'
        "</SourceFilename></SimpleSource></VRTRasterBand>"
        for band in (1, 2, 3)
    )
    return f'<VRTDataset rasterXSize="{width}" rasterYSize="{width}">{bands}</VRTDataset>'


def overviews(path: Path, target: str) -> None:
    path.with_name(f"{path.name}.ovr").write_text(vrt(SIDE // 2, target))


def mask(path: Path, target: str) -> None:
    path.with_name(f"{path.name}.msk").write_text(vrt(SIDE, target))


WAYS = [tag, tag_of_a_band, auxiliary, overviews, mask]


@pytest.fixture(autouse=True)
def small_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.maps.scene_map.PREVIEW_PIXELS", 100)


def mapped(model: Path, source: Path, output: Path) -> None:
    predict(model, source, output, overlap=0.0)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_scene_reaches_no_address(
    way: Callable[[Path, str], None], counter: Counter, model: Path, tmp_path: Path
) -> None:
    for number, target in enumerate(addresses(counter.url, way.__name__)):
        source = scene(tmp_path / str(number) / "scene.tif")
        way(source, target)
        mapped(model, source, tmp_path / "map.tif")
    assert counter.requests() == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_scene_opens_no_other_file(way: Callable[[Path, str], None], model: Path, tmp_path: Path) -> None:
    other = scene(tmp_path / "private" / "photo.tif", THEIRS)
    source = scene(tmp_path / "scene.tif")
    way(source, str(other))
    with raster_file.closed_raster(), raster_file.open_raster(source) as dataset:
        small = dataset.read(1, out_shape=(100, 100))
        assert dataset.overviews(1) == []
        assert dataset.dataset_mask(out_shape=(100, 100)).min() == 255
    assert np.unique(small).tolist() == [MINE]


@pytest.mark.parametrize("suffix", ["tif", "jp2"])
@pytest.mark.parametrize("kind", ["vrt", "wms", "geojson", "empty"])
def test_another_format_under_a_rasters_name_is_refused(
    kind: str, suffix: str, counter: Counter, model: Path, tmp_path: Path
) -> None:
    content = {
        "vrt": vrt(100, f"/vsicurl/{counter.url}/{suffix}.tif"),
        "wms": f"<GDAL_WMS><Service name='WMS'><ServerUrl>{counter.url}/</ServerUrl></Service></GDAL_WMS>",
        "geojson": "{}",
        "empty": "",
    }[kind]
    source = tmp_path / f"scene.{suffix}"
    source.write_text(content)
    with pytest.raises(BadInputError, match=rf"scene\.{suffix}: can't be read") as caught:
        mapped(model, source, tmp_path / "map.tif")
    assert "\n" not in str(caught.value)
    assert counter.requests() == []


def test_a_jpeg_2000_reaches_no_address(counter: Counter, tmp_path: Path) -> None:
    for number, target in enumerate(addresses(counter.url, "jp2")):
        source = tmp_path / f"{number}.jp2"
        write_jp2(source, np.full((SIDE, SIDE), MINE, np.uint8))
        auxiliary(source, target)
        content = f'<GDALMultiDomainMetadata><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{target}'
        box = f"{content}</MDI></Metadata></GDALMultiDomainMetadata>".replace("&", "&amp;").encode()
        with source.open("ab") as file:
            file.write((len(box) + 8).to_bytes(4, "big") + b"xml " + box)
        with raster_file.closed_raster(), raster_file.open_raster(source) as dataset:
            dataset.read(1, out_shape=(100, 100))
    assert counter.requests() == []


@pytest.mark.parametrize("name", ["zip+http:x_B04.tif", "WMS:x_B04.tif", "http:x_B04.tif", "vsicurl?url=x_B04.tif"])
def test_a_files_own_name_is_no_address(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.tif").write_bytes(write_scene(tmp_path / "p.tif", np.zeros((8, 8, 1), np.uint8)).read_bytes())
    (tmp_path / "plain.tif").rename(tmp_path / name)
    with raster_file.closed_raster(), raster_file.open_raster(Path(name)) as dataset:
        assert dataset.shape == (8, 8)


def test_the_counter_counts(counter: Counter, tmp_path: Path) -> None:
    """Last: else nothing above could fail. GDAL as it comes does ask."""
    with request_counter(tmp_path / "own") as own:
        with pytest.raises(RasterioIOError), rasterio.Env():
            rasterio.open(f"{own.url}/asked.tif")
        with pytest.raises(OSError, match="404"):
            urllib.request.urlopen(f"{own.url}/again")
        assert {"/asked.tif", "/again"} <= set(own.requests())
    assert counter.requests() == []


def ome(folder: Path, other: Path) -> bytes:
    """Write a TIFF whose description says that its second plane lies in another file."""
    xml = f"""<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="8" SizeY="8" SizeC="2" SizeZ="1"
SizeT="1"><Channel ID="a"/><Channel ID="b"/><TiffData FirstC="0" IFD="0"><UUID FileName="own.tif">urn:uuid:1</UUID>
</TiffData><TiffData FirstC="1" IFD="0"><UUID FileName="{other}">urn:uuid:2</UUID></TiffData></Pixels></Image></OME>"""
    path = folder / "own.ome.tif"
    tifffile.imwrite(path, np.full((8, 8), MINE, np.uint8), description=xml, metadata=None)
    return path.read_bytes()


def test_a_photo_of_several_files_is_read_as_one(tmp_path: Path) -> None:
    other = tmp_path / "private.tif"
    tifffile.imwrite(other, np.full((8, 8), THEIRS, np.uint8), metadata=None)
    (tmp_path / "own.tif").write_bytes(ome(tmp_path, other))
    image = decode_any(str(tmp_path / "own.tif"))
    assert image.shape == (8, 8, 1)
    assert np.unique(image).tolist() == [MINE]


# What it unpacks to


def hole(side: int) -> bytes:
    """Return a GeoTIFF of zeros, deflated: 16384 a side is 256 MiB, and 300 kB here."""
    with rasterio.MemoryFile() as memory:
        shape = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8", "SPARSE_OK": True}
        shape |= {"crs": UTM, "transform": PLACE}
        with memory.open(**shape, compress="deflate", tiled=True, blockxsize=512, blockysize=512):
            pass
        return bytes(memory.read())


def test_a_scene_of_nothing_is_refused_unless_a_person_says_so(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "scene.tif"
    source.write_bytes(hole(2**17))
    assert source.stat().st_size < 2**21
    with pytest.raises(
        BadInputError, match=r"scene\.tif: .* unpack to 17,179,869,184 .*set SWEEP_UNPACKED_LIMIT="
    ) as caught:
        mapped(model, source, tmp_path / "map.tif")
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("SWEEP_UNPACKED_LIMIT", "20GB")
    with pytest.raises(BadInputError, match="has 1 bands, and 3 "):  # the next question
        mapped(model, source, tmp_path / "map.tif")


def test_a_scene_in_one_huge_strip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster_file, "BLOCK_BYTES", 5_000)
    source = write_scene(tmp_path / "scene.tif", np.zeros((200, 200, 1), np.uint8), blockysize=200)
    with (
        raster_file.closed_raster(),
        pytest.raises(BadInputError, match=r"blocks of 8,000 bytes, the limit is 5,000: write it in tiles"),
    ):
        raster_file.open_raster(source)


def test_a_products_metadata_is_not_read_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep.maps import band_files

    (tmp_path / "MTD_MSIL1C.xml").symlink_to("/dev/zero")
    assert band_files.band_offsets(tmp_path) == {}
    monkeypatch.setattr(band_files, "METADATA_BYTES", 100)
    (tmp_path / "MTD_MSIL2A.xml").write_text("x" * 200 + '<BOA_ADD_OFFSET band_id="1">-1000<')
    assert band_files.band_offsets(tmp_path) == {}


def test_the_project_opens_rasters_in_one_place() -> None:
    """So that no reader is forgotten."""
    found = []
    for package in ("sweep", "trainables"):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        for path in Path(spec.submodule_search_locations[0]).rglob("*.py"):
            found += [
                path.name for line in path.read_text().splitlines() if "rasterio.open(" in line and '"w"' not in line
            ]
    assert sorted(found) == ["geotiff.py", "raster_file.py"]
