"""Wait until a Ray cluster has its nodes: `python wait_for_nodes.py HOST:PORT NODES SECONDS`."""

import socket
import sys
import time

POLL_SECONDS = 0.5


def main(address: str, wanted: int, seconds: float) -> None:
    """Return when `wanted` nodes are alive, or fewer after `seconds`; exit code 1 when no head answers."""
    deadline = time.monotonic() + seconds
    host, _, port = address.rpartition(":")
    while not _listens(host, int(port)):  # ray.init would complain, and wait by rules of its own
        if time.monotonic() > deadline:
            sys.exit(f"no head answers at {address} after {seconds:.0f} s")
        time.sleep(POLL_SECONDS)
    import ray

    ray.init(address=address, log_to_driver=False, configure_logging=False)
    while (there := sum(node["Alive"] for node in ray.nodes())) < wanted and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    missing = "" if there >= wanted else f" of {wanted} after {seconds:.0f} s; the sweep starts on these"
    print(f"{there} nodes{missing}: {_amount('CPU'):g} CPUs, {_amount('GPU'):g} GPUs", flush=True)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5.0).close()
    except OSError:
        return False
    return True


def _amount(resource: str) -> float:
    import ray

    return float(ray.cluster_resources().get(resource, 0))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
