"""Process group of a trial's workers, whose rendezvous listens only on the cluster's own address.

With Ray's TorchTrainer, torch creates a TCPStore that listens on every interface without authentication: anyone who
reaches it can change the values that the ranks share.
"""

import os
import socket
from datetime import timedelta
from typing import Any

import psutil
import ray
import torch.distributed as dist
from ray.train import get_context
from ray.train.backend import Backend
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchConfig

COLLECTIVE_SECONDS = 1800.0


class _NoRendezvous(Backend):  # type: ignore[misc]
    """Backend of Ray Train that leaves the creation of the process group to the train loop."""

    share_cuda_visible_devices = True


class OwnGroupConfig(TorchConfig):  # type: ignore[misc]
    """Ray Train's configuration for a train loop that calls `form_process_group`."""

    @property
    def backend_cls(self) -> type[Backend]:
        """Return the backend class, which sets nothing up."""
        return _NoRendezvous


def form_process_group(backend: str) -> None:
    """Create this rank's default process group; every worker of the group calls it."""
    context = get_context()
    rank, ranks = context.get_world_rank(), context.get_world_size()
    here = ray.util.get_node_ip_address()
    _stay_on_interface_of(here)
    listener = listen(here) if rank == 0 else None
    host, port = broadcast_from_rank_zero((here, listener.getsockname()[1]) if listener is not None else None)
    store = rendezvous(host, port, rank, ranks, listener)
    timeout = timedelta(seconds=COLLECTIVE_SECONDS)
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=timeout)


def listen(host: str) -> socket.socket:
    """Return a socket that listens on a free port of one address."""
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def rendezvous(host: str, port: int, rank: int, ranks: int, listener: socket.socket | None) -> Any:
    """Return the store for the ranks' rendezvous; rank 0 serves it on `listener`, whose ownership passes to torch."""
    given = listener.detach() if listener is not None else None
    timeout = timedelta(seconds=COLLECTIVE_SECONDS)
    return dist.TCPStore(host, port, ranks, is_master=rank == 0, timeout=timeout, master_listen_fd=given)  # type: ignore[attr-defined]


def _stay_on_interface_of(address: str) -> None:
    """Make gloo listen on the interface of an address, and NCCL too if that is the loopback interface.

    Across machines NCCL chooses its interface itself, since it can use faster networks than that of the cluster's
    addresses.
    """
    for name, addresses in psutil.net_if_addrs().items():
        if any(found.address == address for found in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            if address in ("127.0.0.1", "::1"):
                os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={name}")
