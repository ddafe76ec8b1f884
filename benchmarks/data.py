"""Speed of preparing and reading images, beside a lower bound: `python -m benchmarks.data`, 7 minutes.

Every line is a ratio of two measurements in one run on the same files. It needs the real samples (docs/data.md), which
are linked under new names up to the size of a published data set.
"""

import argparse
import itertools
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows.scenes import chip_rates
from trainables.data.preparing.prepare import prepare
from trainables.data.sources.decode import decode_band, decode_rgb
from trainables.data.store_info import StoreInfo

CHUNK = 200
BATCH, BATCHES = 256, 40
IMAGE_COPIES, PATCH_COPIES = 7, 24
BIG_IMAGES = 590_326


def main() -> None:
    """Measure everything and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("SWEEP_SAMPLE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--samples", type=Path, default=Path(default), help="folder of the real samples")
    samples = parser.parse_args().samples
    if not samples.is_dir():
        sys.exit(f"--samples {samples}: no such folder")
    print(f"{os.cpu_count()} cores\n\n| what | measured | beside | ratio | goal |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        # The first store decides what the workers' server loads: rasterio, which the others don't need.
        _scenes(samples / "bigearthnet-s2-v1", root)
        _jpegs(samples / "tiny-imagenet-200c", root)
        _patches(samples / "bigearthnet-s2-v1" / "BigEarthNet-v1.0", root)
        _batches(root)
        _opening(root)


def _row(what: str, measured: str, beside: str, ratio: float, goal: str) -> None:
    print(f"| {what} | {measured} | {beside} | {ratio:.2f} | {goal} |", flush=True)


def _jpegs(sample: Path, root: Path) -> None:
    source = root / "tiny-imagenet-200"
    files = _copy_tiny_imagenet(next(sample.glob("**/wnids.txt")).parent, source)
    before = _best_rate(_decode_images, files)
    seconds, info = _timed(lambda: prepare("tiny_imagenet", source=source, root=root / "stores"))
    alone = (before + _best_rate(_decode_images, files)) / 2  # before and after: machines have moods
    ours = info.images / seconds
    _row(
        f"preparing {info.images:,} JPEGs of 64 px",
        f"{ours:,.0f} images/s",
        f"{alone:,.0f} decoded alone",
        ours / alone,
        "0.90, and 5,000/s",
    )


def _patches(sample: Path, root: Path) -> None:
    source = root / "BigEarthNet-v1.0"
    patches = _copy_patches(sample, source)
    before = _best_rate(_decode_bands, patches)
    options = {"source": source, "root": root / "stores", "splits": "random"}
    seconds, info = _timed(lambda: prepare("bigearthnet_v1", **options))
    alone = (before + _best_rate(_decode_bands, patches)) / 2
    ours = info.images / seconds
    _row(
        f"preparing {info.images:,} BigEarthNet patches, 3 bands",
        f"{ours:,.0f} patches/s",
        f"{alone:,.0f}, bands decoded alone",
        ours / alone,
        "0.85",
    )


def _scenes(sample: Path, root: Path) -> None:
    for rate in chip_rates(sample, root):
        _row(
            f"preparing {rate.chips:,} chips of {rate.kind}, 3 bands",
            f"{rate.ours:,.0f} chips/s",
            f"{rate.alone:,.0f}, rasterio alone reads the windows",
            rate.ours / rate.alone,
            "0.70",
        )


def _batches(root: Path) -> None:
    """Measure random batches of the store beside torchvision's ImageFolder with two workers over the same JPEGs."""
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    from trainables.data.store import ImageStore

    store = ImageStore.open("tiny_imagenet", root / "stores")
    train = store.split("train")
    random = np.random.default_rng(0)
    batches = [random.choice(train, BATCH, replace=False) for _ in range(BATCHES)]
    store.images(batches[0])
    ours = min(_timed(lambda: [store.images(batch) for batch in batches])[0] for _ in range(3)) / BATCHES
    folder = ImageFolder(str(root / "tiny-imagenet-200" / "train"), PILToTensor())
    loader = torch.utils.data.DataLoader(folder, BATCH, shuffle=True, num_workers=2)
    batch_iterator = iter(loader)
    next(batch_iterator)  # the workers have started
    theirs = _timed(lambda: list(itertools.islice(batch_iterator, BATCHES)))[0] / BATCHES
    _row(
        f"a random batch of {BATCH} at 64 px",
        f"{1000 * ours:.2f} ms",
        f"{1000 * theirs:.1f} ms, ImageFolder + DataLoader, 2 workers",
        theirs / ours,
        "20",
    )


def _opening(root: Path) -> None:
    """Measure a store of BigEarthNet's size with a sparse pixel file: opening, first batch, and one pass."""
    from trainables.data.store import ImageStore

    folder = _big_store(root)
    program = (
        "import sys, time, numpy, torch; from pathlib import Path; from trainables.data.store import ImageStore\n"
        "start = time.perf_counter(); store = ImageStore(Path(sys.argv[1])); rows = store.split('train')\n"
        f"store.images(rows[:: len(rows) // {BATCH}]); print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    seconds = float(done.stdout)
    size = (folder / "pixels.bin").stat().st_size / 2**30
    _row(f"opening {BIG_IMAGES:,} images ({size:.0f} GiB), first batch", f"{seconds:.2f} s", "-", seconds, "1 s")
    store = ImageStore(folder)
    store.images(range(BATCH))
    before, most = _resident_mebibytes(), 0.0
    for start in range(0, len(store) - BATCH, BATCH):
        store.images(range(start, start + BATCH))
        most = max(most, _resident_mebibytes())
    _row("memory over a pass through it", f"{most - before:,.0f} MiB more", f"{before:,.0f} MiB", most / before, "flat")


def _big_store(root: Path) -> Path:
    """Write BigEarthNet's 590,326 rows with a sparse pixel file."""
    from trainables.data.index_table import open_rows, write_rows
    from trainables.data.stable_hash import SALTS

    small = StoreInfo.read("bigearthnet_v1", root / "stores")
    assert small is not None
    folder = root / "stores" / "big"
    folder.mkdir()
    names = [f"S2A_MSIL2A_20170613T101032_{number // 1000}_{number % 1000}" for number in range(BIG_IMAGES)]
    write_rows(
        folder / "rows.arrow",
        names=names,
        labels=[(number % 43,) for number in range(BIG_IMAGES)],
        splits=np.zeros(BIG_IMAGES, dtype=np.int8),
        places=[""] * BIG_IMAGES,
        positions=range(BIG_IMAGES),
        checksums=[bytes(16)] * BIG_IMAGES,
        hashes=[0] * BIG_IMAGES,
        fractions=dict.fromkeys(SALTS, np.zeros(BIG_IMAGES)),
        original_labels=None,
    )
    open_rows(folder / "rows.arrow")
    with (folder / "pixels.bin").open("wb") as file:
        file.truncate(BIG_IMAGES * 120 * 120 * 3)
    counts = tuple(BIG_IMAGES // 43 + (label < BIG_IMAGES % 43) for label in range(43))
    alone = {"splits": {"train": BIG_IMAGES}, "class_counts": {"train": counts}, "rule_counts": {}}
    info = small.model_copy(update={"name": "big", **alone})
    (folder / "store.json").write_text(info.model_dump_json())
    return folder


def _resident_mebibytes() -> float:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _best_rate(decode: Callable[[Sequence[Path]], int], paths: Sequence[Path]) -> float:
    """Return files per second, the better of warmed-up threads and processes, one per core."""
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    cores = len(os.sched_getaffinity(0))
    pools: list[Executor] = [
        ThreadPoolExecutor(cores),
        ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("forkserver")),
    ]
    rates = []
    for pool in pools:
        with pool:
            list(pool.map(decode, chunks[: 2 * cores]))
            rates.append(len(paths) / _timed(lambda pool=pool: sum(pool.map(decode, chunks)))[0])
    return max(rates)


def _decode_images(paths: Sequence[Path]) -> int:
    return sum(decode_rgb(path, 64).shape[0] > 0 for path in paths)


def _decode_bands(patches: Sequence[Path]) -> int:
    bands = ("B04", "B03", "B02")
    return sum(
        len([decode_band(patch / f"{patch.name}_{band}.tif", largest=120) for band in bands]) > 0 for patch in patches
    )


def _copy_tiny_imagenet(sample: Path, source: Path) -> list[Path]:
    """Copy the sample with each train image under several names; return the paths of all images."""
    paths = []
    for path in sorted(path for path in sample.rglob("*") if path.is_file() and "test" not in path.parts):
        train = path.parent.name == "images" and path.parents[2].name == "train"
        names = [f"{path.stem}_{copy}{path.suffix}" for copy in range(IMAGE_COPIES)] if train else [path.name]
        folder = source / path.relative_to(sample).parent
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_bytes(path.read_bytes())
            paths += [folder / name] if path.suffix == ".JPEG" else []
    return paths


def _copy_patches(sample: Path, source: Path) -> list[Path]:
    """Copy the sample's patches under several names each; return their folders."""
    folders = []
    for patch, copy in itertools.product(sorted(sample.iterdir()), range(PATCH_COPIES)):
        folder = source / f"{patch.name}{copy}"
        folder.mkdir(parents=True)
        for suffix in ("B02.tif", "B03.tif", "B04.tif", "labels_metadata.json"):
            (folder / f"{folder.name}_{suffix}").write_bytes((patch / f"{patch.name}_{suffix}").read_bytes())
        folders.append(folder)
    return folders


if __name__ == "__main__":
    main()
