"""Scenes, and a model whose answer is known: the first channel's mean, over 255."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import rasterio
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rasterio.crs import CRS
from rasterio.transform import from_origin

from trainables.data.class_names import RGB_BANDS

SIDE = 24
UTM = CRS.from_epsg(32634)
PLACE = from_origin(500_000.0, 7_000_000.0, 10.0, 10.0)
THESIS = {"bands": list(RGB_BANDS), "pixels": "thesis", "ranges": [], "metres": 10.0}
Pixels = NDArray[Any]


def write_model(folder: Path, side: int = SIDE, *, channels: int = 3, classes: int = 2, **facts: Any) -> Path:
    """Write a model: class k < K - 1 has mean_k / largest pixel / (K - 1), the last one the rest."""
    folder.mkdir(parents=True)
    dtype = np.dtype(facts.get("dtype", "uint8"))
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    image = helper.make_tensor_value_info("images", kind, ["n", side, side, channels])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None]) for name in ("probabilities", "features")
    ]
    known = {
        "axes": np.array([1, 2]),
        "full": np.array(np.iinfo(dtype).max * (classes - 1), dtype=np.float32),
        "chosen": np.arange(classes - 1),
        "one": np.array(1.0, dtype=np.float32),
        "last": np.array([1]),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Div", ["means", "full"], ["features"]),
        helper.make_node("Gather", ["features", "chosen"], ["first"], axis=1),
        helper.make_node("ReduceSum", ["first", "last"], ["sum"], keepdims=1),
        helper.make_node("Sub", ["one", "sum"], ["rest"]),
        helper.make_node("Concat", ["first", "rest"], ["probabilities"], axis=1),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in known.items()]
    graph = helper.make_graph(nodes, "means", [image], outputs, tensors)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    names = ["positive", "negative"] if classes == 2 else [f"class {k}" for k in range(classes)]
    written = {
        "classes": names,
        "positive": ["positive"] if classes == 2 else [],
        "positive_rule": ["farmland"] if classes == 2 else [],
        "rules": {},
        "several_labels": False,
        "image_size": [side, side],
        "channels": channels,
        "dtype": "uint8",
        "input": THESIS,
        "trial": "a-trial",
        "trial_id": "abc",
        "sweep": "a-sweep",
        "data_set": "bigearthnet_v1",
        "licence": "none",
    }
    (folder / "model.json").write_text(json.dumps(written | facts))
    return folder


def write_number_model(
    folder: Path, side: int = SIDE, *, channels: int = 3, above: float | None = None, **facts: Any
) -> Path:
    """Write a model of a number: the first channel's mean over ten, float32; with `above` plus that, float64."""
    write_model(folder, side, channels=channels, classes=channels, **{"positive": [], **facts})
    image = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", side, side, channels])
    kinds = {"numbers": TensorProto.FLOAT if above is None else TensorProto.DOUBLE, "features": TensorProto.FLOAT}
    outputs = [helper.make_tensor_value_info(name, kind, ["n", None]) for name, kind in kinds.items()]
    known = {
        "above": np.array(above or 0.0),
        "axes": np.array([1, 2]),
        "ten": np.array(10.0, dtype=np.float32),
        "first": np.array([0]),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Div", ["means", "ten"], ["features"]),
        helper.make_node("Gather", ["features", "first"], ["numbers" if above is None else "means of one"], axis=1),
    ]
    if above is not None:
        nodes.append(helper.make_node("Cast", ["means of one"], ["doubles"], to=TensorProto.DOUBLE))
        nodes.append(helper.make_node("Add", ["doubles", "above"], ["numbers"]))
    tensors = [numpy_helper.from_array(value, name) for name, value in known.items()]
    graph = helper.make_graph(nodes, "number", [image], outputs, tensors)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    return folder


def write_scene(path: Path, values: Pixels, **more: Any) -> Path:
    """Write (H, W, C) values as a GeoTIFF."""
    height, width, count = values.shape
    shape = {"height": height, "width": width, "count": count, "dtype": values.dtype}
    place = {"driver": "GTiff", "crs": UTM, "transform": PLACE} | more
    with rasterio.open(path, "w", **shape, **place) as file:
        file.write(np.moveaxis(values, -1, 0))
    return path


def write_band(path: Path, values: Pixels, metres: float = 10.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_scene(path, values[..., None], transform=from_origin(500_000.0, 7_000_000.0, metres, metres))


def write_jp2(path: Path, values: Pixels) -> None:
    """Write one band as Sentinel-2's products have it, without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_scene(path, values[..., None], driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")


def read_map(path: Path) -> tuple[Pixels, Pixels]:
    """Return the probabilities and classes of a map."""
    with rasterio.open(path) as file:
        probability, classes = file.read()
    return probability, classes


def grey(height: int, width: int, value: int = 1000) -> Pixels:
    """Return a scene of one value, (height, width, 3) uint16."""
    return np.full((height, width, 3), value, dtype=np.uint16)
