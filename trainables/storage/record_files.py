"""Reading of record files that may be damaged: each fault is logged once, and unknown newer fields are kept."""

import errno
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from trainables.errors import LONGEST_VALUE, BadInputError, describe_validation
from trainables.storage.filesystem import Storage
from trainables.storage.trial_records import KeptRecord

LEFT_OUT = "left out"
MOST_FIELDS = 5
MOST_FAULTS = 5
"""Maximum number of a later version's fields in one message."""
Record = TypeVar("Record", bound=BaseModel)

logger = logging.getLogger("trainables.storage.records")
"""Logger with one warning per fault of a record; commands add a handler to show them."""
_named: set[str] = set()


class DamagedRecordError(BadInputError):
    """Record file without usable content: empty, truncated, no JSON, a folder, or unreadable for this user."""


class HiddenRecordError(DamagedRecordError):
    """Record file that this user may not read."""


def read_record(storage: Storage, name: str, kind: type[Record]) -> Record | None:
    """Return the record in a file; None if there is no such file.

    Args:
        storage: Storage of the file.
        name: Name of the file.
        kind: Model of the record.

    Raises:
        DamagedRecordError: The file has no usable content.
        BadInputError: This version refuses the content: a path out of the storage, or another format.
    """
    address, content = storage.address(name), read_content(storage, name)
    if content is None:
        return None
    try:
        record = kind.model_validate_json(content)
    except ValidationError as error:
        raise _refused(address, content, kind, error) from error
    if later := sorted(set(later_fields(record))):
        shown = ", ".join(repr(field)[:LONGEST_VALUE] for field in islice(later, MOST_FIELDS))
        more = f" and {len(later) - MOST_FIELDS} more" if len(later) > MOST_FIELDS else ""
        line = f"has what a later version wrote, which is kept and not used: {shown}{more}"
        name_once(f"{address}: {line}", key=f"{kind.__name__} {shown}{more}")
    return record


def read_content(storage: Storage, name: str) -> bytes | None:
    """Return a file's content, or None if there is no such file; DamagedRecordError if only this file is unreadable."""
    return storage.read(name) if check_file(storage, name) else None


def check_file(storage: Storage, name: str) -> bool:
    """Return False if a local file is missing; DamagedRecordError if it is unreadable although its storage isn't.

    Files of other file systems are checked when they are read.
    """
    return not storage.is_local or _is_there(storage.address(name), patient=storage.patience > 0)


def find_record(
    storage: Storage,
    name: str,
    kind: type[Record],
    *,
    consequence: str = LEFT_OUT,
    instead: Callable[[], Record | None] = lambda: None,
) -> Record | None:
    """Return the record in a file, or a replacement if the file is damaged, which is logged.

    Args:
        storage: Storage of the file.
        name: Name of the file.
        kind: Model of the record.
        consequence: Consequence of a damaged file, for the log.
        instead: Function that returns the replacement.
    """
    try:
        return read_record(storage, name, kind)
    except BadInputError as error:
        name_once(f"{error}; {consequence}", key=storage.address(name))
    return instead()


def record_names(storage: Storage, folder: str, pattern: str) -> list[str]:
    """Return the names of record files in a folder, sorted; files of other programs are excluded."""
    try:
        return [name for name in storage.names(folder) if re.fullmatch(pattern, name, re.ASCII)]
    except NotADirectoryError:
        return []
    except PermissionError as error:
        if not storage.is_local or storage.patience > 0:
            raise  # the storage is away
        name_once(f"{storage.address(folder)}: can't be read: {error.strerror}; {LEFT_OUT}")
        return []


def name_once(line: str, *, key: str = "") -> None:
    """Log a fault of a storage once per process; lines with the same `key` count as one fault."""
    if (key or line) not in _named:
        _named.add(key or line)
        logger.warning("%s", BadInputError(line))


def later_fields(record: BaseModel, prefix: str = "") -> Iterator[str]:
    """Yield the names of fields that this version doesn't know, including those of nested records."""
    yield from (prefix + name for name in record.model_extra or {})
    if isinstance(record, KeptRecord):
        yield from (prefix + name for name in record.later_values())
    for name in type(record).model_fields:
        value = getattr(record, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, BaseModel):
                yield from later_fields(one, f"{prefix}{name}.")


def _is_there(address: str, *, patient: bool) -> bool:
    try:
        mode = os.stat(address).st_mode  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno != errno.ELOOP and (patient or error.errno != errno.EACCES):
            raise  # the storage is away
        kind = HiddenRecordError if error.errno == errno.EACCES else DamagedRecordError
        raise kind(f"{address}: isn't a record: it can't be read ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        what = "folder" if stat.S_ISDIR(mode) else "file of another kind"
        raise DamagedRecordError(f"{address}: isn't a record: it is a {what}")
    if not os.access(address, os.R_OK, effective_ids=True):
        raise HiddenRecordError(f"{address}: isn't a record: it can't be read by this user")
    return True


def _refused(address: str, content: bytes, kind: type[BaseModel], error: ValidationError) -> BadInputError:
    """Return the error for a content that isn't a record of this kind."""
    (first, *_) = error.errors()
    if not content.strip():
        return DamagedRecordError(f"{address}: isn't a record: it is empty")
    if first["type"] == "json_invalid":
        why = first["msg"].removeprefix("Invalid JSON: ")
        return DamagedRecordError(f"{address}: isn't a record: it is cut or damaged ({why})")
    listed = describe_validation(error, known_fields=tuple(kind.model_fields)).splitlines()
    more = f"; and {len(listed) - MOST_FAULTS} more" if len(listed) > MOST_FAULTS else ""
    faults = "; ".join(listed[:MOST_FAULTS]) + more
    refused = DamagedRecordError if not first["loc"] and first["type"] == "model_type" else BadInputError
    return refused(f"{address}: isn't a record that this version reads: {faults}")
