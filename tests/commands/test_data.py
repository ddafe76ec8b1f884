"""The command line: from preparing to verifying, and bad input as one line with exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.sample_data import write_bigearthnet

from sweep.data import main

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path / "stores"))
    return tmp_path / "stores"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


def test_the_whole_road(capsys: Output, root: Path) -> None:
    assert run("list") == 0
    assert "digits: not prepared; python -m sweep.data prepare digits\n" in capsys.readouterr().out
    assert run("prepare", "digits") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"digits: prepared, 1,797 images (1,425 train, 372 test) in {root / 'digits'}"
    assert run("prepare", "digits") == 0
    assert "digits: already prepared" in capsys.readouterr().out
    assert run("prepare", "digits", "--fraction", "0.25", "--as", "few-digits") == 0
    assert run("verify", "few-digits") == 0
    capsys.readouterr()
    assert run("list") == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[1:3]] == ["digits", "few-digits"]
    assert run("remove", "few-digits") == 0
    assert run("verify", "few-digits") == 2


def test_info_says_what_is_in_it_and_how_it_was_made(capsys: Output, tmp_path: Path) -> None:
    labels = [["Sea and ocean", "Estuaries"], ["Complex cultivation patterns"], ["Sea and ocean"], ["Peatbogs"]] * 5
    folder = write_bigearthnet(tmp_path, labels)
    assert run("prepare", "bigearthnet_v1", "--source", str(folder), "--splits", "random") == 0
    assert run("info", "bigearthnet_v1") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for expected in (
        f"source {folder}",
        "images 20 of 120 x 120 x 3 uint8",
        "labels 43 classes, several per image",
        "licence CDLA-Permissive-1.0; contains modified Copernicus Sentinel data",
        "made with fraction 1.0",
        "made with pixels thesis: clip(value / 2000 * 255, 0, 255), truncated",
        "all 20 5 (25.0%) 5 (25.0%)",
    ):
        assert expected in lines
    assert any(line.startswith("Sea and ocean 10 (50.0%) ") for line in lines)
    assert any(line.startswith("Complex cultivation patterns 5 (25.0%) ") and "farmland" in line for line in lines)


def test_json_says_what_the_tables_say(capsys: Output, root: Path) -> None:
    assert run("prepare", "digits", "--fraction", "0.25") == 0
    (root / "torn").mkdir()
    (root / "torn" / "store.json").write_text("{")
    capsys.readouterr()
    assert run("list", "--json") == 0
    printed = capsys.readouterr()
    assert "torn" in printed.err
    listed = json.loads(printed.out)
    assert run("info", "digits", "--json") == 0
    store = json.loads(capsys.readouterr().out)
    (one,) = listed["stores"]
    for same in ("name", "image_size", "images", "labelled_images", "splits", "fingerprint", "bytes", "folder"):
        assert one[same] == store[same]
    assert (one["images"], one["classes"]) == (sum(one["splits"].values()), 10)
    assert one["folder"] == str(root / "digits")
    assert "digits" not in listed["not_prepared"]
    assert listed["not_prepared"]["bigearthnet_v1"].startswith("python -m sweep.data prepare bigearthnet_v1")
    assert sum(store["class_counts"]["train"]) == store["splits"]["train"]
    assert store["options"]["fraction"] == 0.25
    assert store["notes"]


def test_a_contact_sheet_of_any_kind_of_store(capsys: Output, tmp_path: Path) -> None:
    labels = [["Sea and ocean", "Estuaries"], ["Complex cultivation patterns"], ["Peatbogs"]] * 5
    folder = write_bigearthnet(tmp_path, labels, bands=("B02", "B03", "B04", "B08"))
    stores = {"three": ("B04,B03,B02", "thesis"), "four": ("B08,B04,B03,B02", "none"), "one": ("B08", "percentiles")}
    for name, (bands, pixels) in stores.items():
        options = ("--splits", "random", "--bands", bands, "--pixels", pixels, "--image-size", "32")
        assert run("prepare", "bigearthnet_v1", "--source", str(folder), "--as", name, *options) == 0
        sheet = tmp_path / f"{name}.png"
        assert run("show", name, "--output", str(sheet)) == 0
        assert f"{name}: drawn to {sheet}" in capsys.readouterr().out
        with Image.open(sheet) as image:
            pixels_drawn = np.asarray(image.convert("RGB"))
        assert len(np.unique(pixels_drawn.reshape(-1, 3), axis=0)) > 100
    assert run("show", "three", "--set", "image_size=24", "--output", str(tmp_path / "small.png")) == 0
    assert run("show", "three", "--set", "colour=red") == 2
    assert run("show", "three", "--output", str(tmp_path / "none" / "x.png")) == 2
    assert "can't be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["prepare", "imagenet"],
            "unknown data set 'imagenet'; known: digits, tiny_imagenet, bigearthnet_v1, bigearthnet_v2, eurosat",
        ),
        (["prepare", "folder"], "folder needs --source PATH: a folder (or zip) of class folders"),
        (["prepare", "eurosat", "--url", "file:///nowhere/EuroSAT.zip"], "file:///nowhere/EuroSAT.zip"),
        (["prepare", "digits", "--source", "here"], "--source here: digits come with scikit-learn; leave --source out"),
        (["prepare", "digits", "--fraction", "0"], "fraction must be > 0 and <= 1, got 0.0"),
        (["prepare", "digits", "--fraction", "1e-9"], "no usable image"),
        (["prepare", "digits", "--as", "../x"], "data set name '../x': use the letters"),
        (["prepare", "digits", "--root", "/dev/null/x"], "can't be written"),
        (["prepare", "tiny_imagenet", "--source", "/nowhere"], "/nowhere"),
        (["prepare", "bigearthnet_v1", "--source", "EMPTY"], "found nothing"),
        (["info", "eurosat"], "type: python -m sweep.data prepare eurosat (downloads it"),
        (["verify", "mine"], "not one of the known"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], expected: str, capsys: Output, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(*[str(tmp_path / "empty") if word == "EMPTY" else word for word in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert expected in captured.err
    assert captured.err.count("\n") == 1


def test_a_damaged_store_does_not_hide_the_others(capsys: Output, root: Path) -> None:
    run("prepare", "digits")
    (root / "other").mkdir()
    (root / "other" / "store.json").write_text('{"format_version": 0}')
    capsys.readouterr()
    assert run("list") == 0
    captured = capsys.readouterr()
    assert "digits " in captured.out
    assert "store format 0" in captured.err
    (root / "digits" / "pixels.bin").unlink()
    assert run("info", "digits") == 2
    assert "pixels.bin: can't be read" in capsys.readouterr().err


def test_as_a_program_it_ends_without_a_traceback(root: Path) -> None:
    command = [sys.executable, "-m", "sweep.data", "info", "folder"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SWEEP_DATA": str(root)})
    assert done.returncode == 2
    assert done.stderr == (
        f"error: data set 'folder' is not prepared under {root}; "
        "type: python -m sweep.data prepare folder --source PATH\n"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--column", "label=a", "--column", "label=b"], "--column label=b: label is given before, as 'a'; keep one"),
        (["--bands", "R,,B"], "'R,,B': a part between commas is empty"),
        (["--bands", ""], "'': a part between commas is empty"),
    ],
)
def test_an_option_that_would_be_guessed_is_one_line(given: list[str], message: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from sweep.data import app

    result = CliRunner().invoke(app, ["prepare", "folder", "--source", str(tmp_path), "--root", str(tmp_path), *given])
    assert message in str(result.exception)
