"""Check that a JPEG 2000 file is complete: GDAL reads the missing tiles of one that was cut as 0, without an error."""

import struct
from io import BufferedReader
from pathlib import Path

from trainables.errors import BadInputError

CODESTREAM = b"jp2c"
"""Type of the box with the image (ISO/IEC 15444-1, annex I)."""
END = b"\xff\xd9"
"""Marker at the end of a codestream (EOC, annex A)."""
START = b"\xff\x4f"
"""Marker at the beginning of a codestream (SOC), which may be a file without boxes."""
MOST_BOXES = 1000


def check_complete(path: Path) -> None:
    """Raise BadInputError for a file that is shorter than it says, as after an interrupted download."""
    size = path.stat().st_size
    with path.open("rb") as file:
        end = _codestream_end(file, size)
        if end is None:  # no JPEG 2000: GDAL says so
            return
        file.seek(max(min(end, size) - len(END), 0))
        is_whole = end <= size and file.read(len(END)) == END
    if not is_whole:
        raise BadInputError(f"{path}: is cut: it ends before its image does; fetch it again")


def _codestream_end(file: BufferedReader, size: int) -> int | None:
    """Return the position after the codestream, which can be beyond the file; None if there is none."""
    if file.read(len(START)) == START:
        return size
    start = 0
    for _ in range(MOST_BOXES):
        file.seek(start)
        header = file.read(16)
        if len(header) < 8:
            return None if start == 0 else size + 1
        length, kind = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        end = size if length == 0 else start + length
        if kind == CODESTREAM:
            return end
        if end <= start or (start == 0 and kind != b"jP  "):
            return None
        start = end
    return None
