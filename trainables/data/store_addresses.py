"""Paths and addresses of stores: SWEEP_DATA or --root, and the place of a store beneath it."""

import os
import re
from pathlib import Path

from trainables.data.store_format import PLAIN_NAME
from trainables.errors import BadInputError
from trainables.printing.printable_text import printable
from trainables.printing.redaction import secret_part
from trainables.storage.uri_schemes import broken_scheme


def data_root() -> Path:
    """Return the folder of the stores: SWEEP_DATA, else ~/.cache/sweep/data.

    Raises:
        BadInputError: SWEEP_DATA is a remote address, where stores can be read but not prepared.
    """
    if (address := remote_root()) is not None:
        raise BadInputError(
            f"SWEEP_DATA {address}: stores are prepared on this machine's disk: give --root FOLDER, then "
            f"python -m sweep.data upload NAME {address} --root FOLDER"
        )
    chosen = os.environ.get("SWEEP_DATA")
    return checked_root(Path(chosen), "SWEEP_DATA") if chosen else Path.home() / ".cache" / "sweep" / "data"


def checked_root(folder: Path, given_by: str) -> Path:
    """Return `folder` if pyarrow can open paths in it; else BadInputError names `given_by`."""
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError as error:
        raise BadInputError(
            f"{given_by} {printable(str(folder))}: its name isn't UTF-8; choose another folder"
        ) from error
    scheme = broken_scheme(str(folder))
    if not str(folder).strip() or scheme:
        wanted = f"a URI begins with {scheme}://" if scheme else "give a folder"
        raise BadInputError(f"{given_by} {str(folder)!r}: isn't a folder; {wanted}")
    if folder.expanduser().is_file():
        raise BadInputError(f"{given_by} {folder}: is a file; give a folder")
    return folder.expanduser()


def remote_root() -> str | None:
    """Return SWEEP_DATA if it is a remote address (s3://...), else None; BadInputError for one with a secret."""
    chosen = os.environ.get("SWEEP_DATA", "")
    if "://" not in chosen:
        return None
    if secret := secret_part(chosen):
        raise BadInputError(
            f"SWEEP_DATA {chosen}: has {secret}; credentials belong in their own variables or a file, as an address "
            "is kept"
        )
    return chosen


def store_address(name: str) -> str:
    """Return the location of the store `name` for all machines: an absolute path or a remote address."""
    address = remote_root()
    return str(store_folder(name).absolute()) if address is None else joined_address(address, plain_name(name))


def store_folder(name: str, root: Path | None = None) -> Path:
    """Return the folder of the store `name`, which need not exist; BadInputError if the name isn't plain."""
    return (data_root() if root is None else checked_root(root, "--root")) / plain_name(name)


def joined_address(address: str, name: str) -> str:
    """Join `name` to an address; a query string (?endpoint_override=...) stays at the end."""
    place, mark, query = address.partition("?")
    return f"{place.rstrip('/')}/{name}{mark}{query}"


def plain_name(name: str) -> str:
    """Return the name of a store if it is safe as a folder's name; else raise BadInputError."""
    if not re.fullmatch(PLAIN_NAME, name):
        raise BadInputError(
            f"data set name {name!r}: use the letters a to z, digits, '_', '.' and '-' only, a letter or digit first"
        )
    return name
