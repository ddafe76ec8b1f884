"""Streaming reader of zip and tar archives, without unpacking to disk."""

import hashlib
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from trainables.errors import BadInputError
from trainables.files.unpacked_limit import check_unpacked, too_much, unpacked_limit

MEMBER_LIMIT = 256 * 2**20
"""Size limit of a member in bytes; larger ones are treated as decompression bombs."""
MOST_MEMBERS = 20_000_000
"""Limit of an archive's member count; BigEarthNet has 7.7 million files."""
HEADER_BYTES = 2**20
"""Size limit in bytes of a tar's long name or extended header, which tarfile reads at once."""
HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
XZ_MEMORY = 512 * 2**20
"""Memory limit in bytes for the dictionary that an xz header declares; `xz -9` takes 64 MiB."""
CODECS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\0": "xz"}
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
"""Compression methods of a zip that Python reads."""
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
ENDS = 2**20
"""Bytes at the start and at the end of an archive that identify it."""
BLOCK = tarfile.BLOCKSIZE
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError),
    *(NotImplementedError, RuntimeError, OverflowError, MemoryError, pa.ArrowException),
)
"""Exceptions that archive readers raise for damaged files."""


def is_tar(source: Path) -> bool:
    """Whether a file is a tar, packed or not; decided by its first bytes, not by its name."""
    magic = first_bytes(source)
    return any(magic.startswith(known) for known in CODECS) or magic[257:262] == b"ustar"


def archive_state(source: Path) -> str:
    """Return a digest of a tar's content from its size and both ends, independent of its location.

    The end of gzip, xz and bz2 files holds a checksum. For other formats, the modification time is included.
    """
    kept, digest = source.stat(), hashlib.sha256()
    codec = next((name for magic, name in CODECS.items() if first_bytes(source).startswith(magic)), None)
    digest.update(f"{kept.st_size} {kept.st_mtime_ns if codec in (None, 'zstd') else ''}".encode())
    with source.open("rb") as file:
        digest.update(file.read(ENDS))
        file.seek(max(0, kept.st_size - ENDS))
        digest.update(file.read(ENDS))
    return digest.hexdigest()


def stream_tar(
    source: Path, wanted: Callable[[str], bool], *, progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield relative path and content of the wanted regular files of a tar, in one pass and in bounded memory.

    `progress` receives the compressed bytes read and the file's size.

    Raises:
        BadInputError: The archive is truncated or damaged, or any member is unsafe.
    """
    size = source.stat().st_size
    try:
        with _unpacked(source) as (inner, position):
            stream: Any = _BoundedStream(inner, size)
            archive = tarfile.open(fileobj=stream, mode="r|", tarinfo=_CheckedMember)  # noqa: SIM115  # it holds nothing to close
            for number, member in enumerate(archive, 1):
                if number > MOST_MEMBERS:
                    raise BadInputError(f"more than {MOST_MEMBERS:,} files")
                archive.members = []  # type: ignore[attr-defined]  # else tarfile keeps all members
                _check_member(source, member)
                if member.isfile() and wanted(member.name):
                    content = archive.extractfile(member)
                    assert content is not None
                    yield member.name, content.read()
                if progress is not None:
                    progress(position(), size)
            _check_end(source, stream)
    except BadInputError as error:
        raise error if str(source) in str(error) else BadInputError(f"{source}: {error}") from error
    except DAMAGE as error:
        raise damaged(str(source), error) from error


class _CheckedMember(tarfile.TarInfo):
    """Tar member with a limited header size; sparse members are refused, since they can declare any size."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> "_CheckedMember":
        member = super().frombuf(buf, encoding, errors)
        if member.type in HEADERS and member.size > HEADER_BYTES:
            raise BadInputError(f"{member.name!r}: a header of {member.size:,} bytes; the limit is {HEADER_BYTES:,}")
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise BadInputError(f"{member.name!r}: a sparse file; pack it again without --sparse")
        return member

    def _refuse(self, *_: Any, **__: Any) -> None:
        raise BadInputError(f"{self.name!r}: a sparse file; pack it again without --sparse")

    # tarfile's parsers of sparse-file entries in extended headers.
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse


class _BoundedStream:
    """Stream that keeps its last two blocks; BadInputError if it expands beyond the limit for `packed` bytes."""

    def __init__(self, stream: Any, packed: int) -> None:
        self._stream, self._packed = stream, packed
        self._limit, self._count = unpacked_limit(packed), 0
        self.tail = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes, none at the end."""
        content: bytes = self._stream.read(size)
        self._count += len(content)
        if self._count > self._limit:
            raise BadInputError(too_much(self._count, self._packed, self._limit))
        self.tail = (self.tail + content[-2 * BLOCK :])[-2 * BLOCK :]
        return content


@contextmanager
def _unpacked(source: Path) -> Iterator[tuple[Any, Callable[[], int]]]:
    """Yield the unpacked tar as a stream, and a function that returns the position in the packed file."""
    codec = next((name for magic, name in CODECS.items() if first_bytes(source).startswith(magic)), None)
    with source.open("rb") as file:
        if codec is None:
            yield file, file.tell
        elif codec == "xz":
            yield _BoundedXz(file), file.tell
        else:
            with pa.PythonFile(file, "r") as packed, pa.CompressedInputStream(packed, codec) as stream:
                yield stream, file.tell


class _BoundedXz:
    """Xz reader with a memory limit, which lzma.open lacks."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._decoder = file, lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def read(self, size: int) -> bytes:
        """Return the next bytes, empty at the end; concatenated xz streams are read as one."""
        while True:
            if self._decoder.eof:
                rest = self._decoder.unused_data.lstrip(b"\0") or self._file.read(io.DEFAULT_BUFFER_SIZE).lstrip(b"\0")
                if not rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
                content = self._decoder.decompress(rest, size)
            else:
                packed = self._file.read(io.DEFAULT_BUFFER_SIZE) if self._decoder.needs_input else b""
                if self._decoder.needs_input and not packed:
                    raise EOFError("it ends in the middle")
                content = self._decoder.decompress(packed, size)
            if content:
                return content


def _check_member(source: Path, member: tarfile.TarInfo) -> None:
    where = f"{source}: {member.name}"
    if not (member.isfile() or member.isdir()):
        raise BadInputError(f"{where}: a link or device; an archive of images has none: download it again")
    _check_name(where, member.name)
    _check_size(where, member.size)


def _check_end(source: Path, stream: "_BoundedStream") -> None:
    """Raise BadInputError unless a tar ends with zero blocks, since tarfile accepts truncated archives."""
    while stream.read(2**20):
        pass
    if stream.tail != bytes(2 * BLOCK):
        raise BadInputError(f"{source}: truncated (its end is missing); download it again")


def open_zip(source: Path) -> zipfile.ZipFile:
    """Open a zip; BadInputError if it is damaged or has an unsafe member."""
    try:
        archive = zipfile.ZipFile(source, metadata_encoding="utf-8")  # macOS writes UTF-8 without saying so
    except UnicodeDecodeError as error:
        name = bytes(error.object).decode("ascii", "backslashreplace")
        raise BadInputError(
            f"{source}: {name}: its name isn't UTF-8 (packed by an older Windows?); pack it again, or give its folder"
        ) from error
    except DAMAGE as error:
        raise damaged(str(source), error) from error
    names = set()
    _check_total(source, archive)
    for info in archive.infolist():
        where = f"{source}: {info.filename}"
        _check_name(where, info.filename)
        _check_size(where, info.file_size)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise BadInputError(f"{where}: a link; an archive of images has none: download it again")
        if info.flag_bits & 1:
            raise BadInputError(f"{where}: encrypted; pack the archive without a password")
        if info.compress_type not in METHODS:
            raise BadInputError(f"{where}: packing method {info.compress_type} isn't read; pack it with deflate")
        if info.filename in names:
            raise BadInputError(f"{where}: is in the archive twice; download it again")
        names.add(info.filename)
    return archive


def _check_total(source: Path, archive: zipfile.ZipFile) -> None:
    """Raise BadInputError if a zip exceeds the limits of uncompressed size or member count."""
    members = archive.infolist()
    try:
        if len(members) > MOST_MEMBERS:
            raise ValueError(f"{len(members):,} files are more than {MOST_MEMBERS:,}")
        check_unpacked(sum(info.file_size for info in members), source.stat().st_size)
    except ValueError as error:
        raise BadInputError(f"{source}: {error}") from error


def _check_name(where: str, name: str) -> None:
    if "\\" in name and ".." not in name and name[1:2] != ":" and not name.startswith("\\"):
        raise BadInputError(
            f"{where}: backslashes between folders, which only Windows reads; pack it again with slashes"
        )
    if name.startswith("/") or "\\" in name or ".." in name.split("/") or name[1:2] == ":":
        raise BadInputError(f"{where}: leads out of the archive; it isn't what was published: download it again")


def _check_size(where: str, size: int) -> None:
    if size > MEMBER_LIMIT:
        raise BadInputError(f"{where}: {size:,} bytes are more than any image has (limit {MEMBER_LIMIT:,})")


def limited(member: IO[bytes], where: str) -> bytes:
    """Return a member's content; BadInputError if it exceeds MEMBER_LIMIT."""
    content = member.read(MEMBER_LIMIT + 1)
    _check_size(where, len(content))
    return content


def first_bytes(source: Path) -> bytes:
    """Return the first bytes of a file, which identify its format; BadInputError if it can't be read."""
    try:
        with source.open("rb") as file:
            return file.read(BLOCK)
    except OSError as error:
        raise BadInputError(f"{source}: can't be read ({error.strerror or error})") from error


def damaged(where: str, error: BaseException) -> BadInputError:
    """Return the error for an archive that a reader failed on."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return BadInputError(f"{where}: truncated or damaged ({reason}); download it again")
