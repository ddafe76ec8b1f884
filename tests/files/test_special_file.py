"""Pipes, sockets and devices in the place of an input file are refused by name, before they are opened."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.cluster_setup.cluster_file import read
from sweep.space import load_space
from trainables.data.preparing.prepare import prepare
from trainables.errors import BadInputError
from trainables.weights.initial_weights import InitialWeights


@pytest.mark.parametrize(
    ("take", "message"),
    [
        (lambda pipe: prepare("folder", source=pipe.parent, table=pipe, root=pipe.parent / "out"), "--table .* a pipe"),
        (lambda pipe: prepare("parquet", source=pipe, root=pipe.parent / "out"), "pipe.yaml: is a pipe; give a file"),
        (lambda pipe: load_space(str(pipe)), "space .*pipe.yaml'?: is a pipe; give a file"),
        (lambda pipe: read(pipe), "pipe.yaml: is a pipe; give a file"),
        (lambda pipe: InitialWeights(str(pipe), "x").content(), "initial_weights: .*: is a pipe; give a file"),
    ],
)
def test_a_pipe_is_refused_and_not_waited_for(take: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    with pytest.raises(BadInputError, match=message):
        take(pipe)


def test_a_device_is_refused() -> None:
    with pytest.raises(BadInputError, match="/dev/zero: is a device; give a file"):
        InitialWeights("/dev/zero", "zero").pinned()
