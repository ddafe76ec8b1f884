"""File ownership: new folders are private, shared folders keep their permissions, and foreign locks are refused."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from trainables.errors import BadInputError

_DEFAULT_ACL = "system.posix_acl_default"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(folder: Path) -> None:
    """Make a folder that isn't there: for this user alone, or by the rules of a shared folder that it is made in.

    The first of several that are missing is the private one. A folder that is there keeps its permissions.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    if missing and not is_shared(missing[-1].parent):
        with contextlib.suppress(FileExistsError):  # another process was faster
            missing[-1].mkdir(mode=stat.S_IRWXU)
    folder.mkdir(parents=True, exist_ok=True)


def is_shared(folder: Path) -> bool:
    """Return whether a folder's group is meant to write in it: setgid, a default ACL, or writable for another group.

    Not a sticky folder, as /tmp: many write there, each for himself.
    """
    found = folder.stat()
    if found.st_mode & stat.S_ISVTX:
        return False
    with contextlib.suppress(OSError, AttributeError):
        if os.getxattr(folder, _DEFAULT_ACL):
            return True
    others_group = bool(found.st_mode & stat.S_IWGRP) and found.st_gid != os.getegid()
    return bool(found.st_mode & stat.S_ISGID) or others_group


@contextlib.contextmanager
def files_as_private_as(folder: Path) -> Iterator[None]:
    """Make this process's and its children's new files private meanwhile, where the folder is."""
    before = os.umask(0o077)
    try:
        if folder.exists() and folder.stat().st_mode & _OTHERS:
            os.umask(before)
        yield
    finally:
        os.umask(before)


def refuse_foreign(path: Path) -> None:
    """Raise BadInputError where a lock or cache belongs to another user, who could change it meanwhile.

    Root's is taken, and in a folder that this process's groups share that of a member.
    """
    try:
        found = path.lstat()
        around = (path if stat.S_ISDIR(found.st_mode) else path.parent).stat()
    except OSError:
        return
    groups = {os.getegid(), *os.getgroups()}
    agreed = around.st_mode & stat.S_IWGRP and not around.st_mode & stat.S_IWOTH and around.st_gid in groups
    if found.st_uid not in (0, os.getuid()) and (not agreed or stat.S_ISLNK(found.st_mode)):
        raise BadInputError(
            f"{path}: belongs to another user ({found.st_uid}), who could change what is read there; remove it, or "
            "choose another folder"
        )
