"""Header and checksums of a weights file, read without torch, so that damaged files are refused during planning."""

import io
import json
import zipfile

from trainables.errors import BadInputError

HEADER_BYTES = 16 * 2**20
"""Maximum size of a safetensors header, bytes; each tensor takes about 100."""
POINTER = b"version https://git-lfs.github.com/spec/"
ZIP, PICKLE = b"PK\x03\x04", b"\x80"
FETCH = "download it again"


def is_safetensors(content: bytes) -> bool:
    """Whether the content has the layout of safetensors: eight bytes of length, then JSON."""
    return content[8:9] == b"{"


def check_header(content: bytes, address: str) -> None:
    """Raise BadInputError with the reason if the file is not a complete weights file."""
    if fault := _fault(content, named=address.endswith(".safetensors")):
        raise BadInputError(f"initial_weights: {address}: {fault}")


def _fault(content: bytes, *, named: bool) -> str:
    start = content[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not content:
        return f"is empty; {FETCH}"
    if start.startswith(POINTER):
        return "is a git-LFS pointer, not the weights: fetch them with git lfs pull"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return f"isn't a file of weights but a web page (a download that needs a login?); {FETCH}"
    if start.startswith((b"/annex/objects/", b".git/annex/objects/")):
        return "is a git-annex pointer, not the weights: fetch them with git annex get"
    if start.startswith(b"{") and not is_safetensors(content):
        return "is JSON (an index of several files, or a server's error message?), not the weights; give one whole file"
    foreign = content.startswith((ZIP, PICKLE))
    if is_safetensors(content) or (named and not foreign):
        return _safetensors_fault(content)
    if content.startswith(ZIP):
        return _zip_fault(content)
    if content.startswith(PICKLE) or b"ustar" in content[257:265]:
        return ""
    return (
        f"isn't a file of weights (it begins with {content[:8]!r}); give one that torch.save or safetensors "
        "wrote (.pt, .pth, .safetensors)"
    )


def _zip_fault(content: bytes) -> str:
    """Return the fault of a file of torch.save, which has a checksum for each tensor."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return f"isn't a file of weights to its end: it is cut off at {len(content):,} bytes; {FETCH}"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist())
            damaged = "" if unpacked else archive.testzip()
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
        damaged = str(error)
    return f"is damaged: its checksums don't hold ({damaged}); {FETCH}" if damaged else ""


def _safetensors_fault(content: bytes) -> str:
    length = int.from_bytes(content[:8], "little")
    if length > HEADER_BYTES:
        return f"isn't a safetensors file: has a header of {length:,} bytes; the limit is {HEADER_BYTES:,}"
    try:
        header = json.loads(content[8 : 8 + length])
        ends = [int(own["data_offsets"][1]) for name, own in header.items() if name != "__metadata__"]
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError, IndexError) as error:
        cut = 8 + length > len(content)
        reason = f"cut off at {len(content):,} bytes" if cut else str(error).splitlines()[0][:200]
        return f"isn't a safetensors file (its header can't be read: {reason}); {FETCH}"
    needed = 8 + length + max(ends, default=0)
    if needed > len(content):
        return f"is a safetensors file that is cut off at {len(content):,} of {needed:,} bytes; {FETCH}"
    return ""
