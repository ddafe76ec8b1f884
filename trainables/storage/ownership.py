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
    """Create a missing folder: private to this user, or by the rules of the shared folder that it is in.

    If several parents are missing, the first of them is private. An existing folder keeps its permissions.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    if missing and not is_shared(missing[-1].parent):
        with contextlib.suppress(FileExistsError):  # another process was faster
            missing[-1].mkdir(mode=stat.S_IRWXU)
    folder.mkdir(parents=True, exist_ok=True)


def is_shared(folder: Path) -> bool:
    """Whether a folder is shared with its group: setgid, a default ACL, or writable for another group.

    Sticky folders such as /tmp aren't shared: many users write there, each their own files.
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
    """Make new files of this process and its children private for the duration of the context, if the folder is."""
    before = os.umask(0o077)
    try:
        if folder.exists() and folder.stat().st_mode & _OTHERS:
            os.umask(before)
        yield
    finally:
        os.umask(before)


def refuse_foreign(path: Path) -> None:
    """Raise BadInputError if a lock or cache belongs to another user, who could change it.

    Accepted are root's, and those of a group member in a folder shared with one of this process's groups.
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
