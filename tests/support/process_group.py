"""Fresh processes for tests, and real process groups of them that talk over gloo.

They are forked from a server that has imported what a trial needs, which takes several seconds, and computed nothing.
"""

import faulthandler
import multiprocessing
import multiprocessing.forkserver
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from support.paths import ROOT, TESTS

multiprocessing.set_forkserver_preload(["pytest", "support.preloaded"])


@contextmanager
def single_thread() -> Iterator[None]:
    """Compute here as the processes below do; where cores are busy this is many times faster, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def start_server() -> None:
    """Start the server unless it runs: it finds modules by the environment, not by this process's path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(TESTS))), prepend=os.pathsep)
        multiprocessing.forkserver.ensure_running()


def exit_code(body: Callable[..., None], *arguments: Any) -> int | None:
    """Run `body`, a function of a module, in a process with one thread; return how it ended: -9 for SIGKILL."""
    process = multiprocessing.get_context("forkserver").Process(target=_alone, args=(body, arguments))
    process.start()
    process.join()
    return process.exitcode


def _alone(body: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    body(*arguments)


def on_ranks(world: int, tmp_path: Path, body: Callable[..., None], *arguments: Any) -> None:
    """Run `body` on every rank of a new group, with one thread each; raises what a rank raised.

    A rank that PyTorch's own threads abort ("terminate called without an active exception", seen twice while the
    machine was overloaded) is given one more try; faulthandler then shows where it was.
    """
    for tries_left in (1, 0):
        rendezvous = tmp_path / f"rendezvous-{world}-{len(list(tmp_path.iterdir()))}"
        work = (world, str(rendezvous), body, arguments)
        try:
            mp.start_processes(_work, args=work, nprocs=world, start_method="forkserver")  # type: ignore[no-untyped-call]
            return
        except mp.ProcessExitedException as error:
            if not tries_left or error.signal_name != "SIGABRT":
                raise


def _work(rank: int, world: int, rendezvous: str, body: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    faulthandler.enable()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    try:
        body(*arguments)
    finally:
        dist.destroy_process_group()
