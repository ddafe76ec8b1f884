"""Errors of a rank that lost its connection to another rank: the cause is a dead process or a lost machine."""

import re

_SIGNS = (
    # gloo, transport/tcp/pair.cc: first its own text, then the system's for ECONNRESET and EPIPE
    r"connection closed by peer",
    r"connection reset by peer",
    r"broken pipe",
    # torch, c10d/TCPStoreLibUvBackend.cpp and c10d/Utils.hpp: the store on rank 0
    r"remote peer closed the connection",
    r"connection was likely closed\. did the remote server shutdown or crash",
    # torch, c10d/NCCLUtils.cpp, and the texts of NCCL's ncclRemoteError and ncclSystemError
    r"remote process exited or there was a network error",
    r"remote process exiting prematurely",
    r"unexpected exit of a remote peer",
    r"connection closed by remote peer",
    # ray, exceptions.ActorUnavailableError: a call to an unreachable worker
    r"the actor \S+ is unavailable",
)
_PEER = re.compile("|".join(_SIGNS), re.IGNORECASE)


def is_peer_error(text: str) -> bool:
    """Return whether an error's text reports a broken connection to another rank."""
    return _PEER.search(text) is not None
