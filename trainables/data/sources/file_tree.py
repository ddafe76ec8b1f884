"""Files of a folder or zip by relative path: links within it are followed, system files are left out."""

import hashlib
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from trainables.data.sources.archive import DAMAGE, ZIP_MAGIC, damaged, first_bytes, is_tar, limited, open_zip
from trainables.data.sources.decode import IMAGE_SUFFIXES
from trainables.data.sources.file_kinds import refuse_kind
from trainables.data.sources.reading import NotReadError
from trainables.data.sources.source import digest_of, some_names
from trainables.errors import BadInputError
from trainables.files.special_file import special_kind
from trainables.printing.printable_text import printable

JUNK_FOLDERS = frozenset(
    (
        *("__MACOSX", "@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "RECYCLER", "System Volume Information"),
        *("lost+found", "__pycache__"),
    )
)
"""Folders that macOS, disk stations, Windows and Linux add to the user's own: thumbnails, deleted files."""
JUNK_FILES = frozenset(
    ("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "picasa.ini", "pspbrwse.jbf")
)
HIDDEN = "hidden"
PACKED = (b"7z\xbc\xaf", b"Rar!")
"""First bytes of archives that aren't read."""


def junk(name: str) -> str | None:
    """Return why a relative path is a system or hidden file; None for one of the user's own files."""
    parts = name.split("/")
    if parts[-1].lower() in JUNK_FILES:
        return parts[-1].strip()
    if not JUNK_FOLDERS.isdisjoint(parts):
        return f"in {next(part for part in parts if part in JUNK_FOLDERS)}/"
    if "/." not in name and not name.startswith("."):
        return None  # so for nearly all names, which are many
    return HIDDEN if any(part.startswith(".") and part not in (".", "..") for part in parts) else None


def file_states(paths: Iterable[str]) -> str:
    """Return a digest of the files' sizes and modification times, in the given order, without names and labels."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            found = os.stat(path)  # noqa: PTH116  # creating a Path takes longer than the call
        except FileNotFoundError:
            continue  # reading the file reports it
        digest.update(b"%d %d\n" % (found.st_size, found.st_mtime_ns))
    return digest.hexdigest()


class FileTree:
    """Regular files of a folder or a zip, by relative path."""

    def __init__(self, source: Path) -> None:
        self.location = str(source.resolve())
        self.left_out: Counter[str] = Counter()
        """Number of system, hidden and special files by reason; for a folder known once `names` was called."""
        self._special: dict[str, list[str]] = {}
        self.links: list[str] = []
        """Followed links, to folders within the source and to any files; known after `names` is called."""
        self._zip = None if source.is_dir() else open_zip(source)
        self._folder = source
        self._names: list[str] | None = None

    def names(self) -> list[str]:
        """Return the relative paths of all files, sorted; hidden and system files are counted as left out.

        Raises:
            BadInputError: A name isn't UTF-8, or a link is broken, circular, or leads to a folder outside the source.
        """
        if self._names is None:
            found = self._walk(str(self._folder)) if self._zip is None else (i.filename for i in self._members())
            reasons = {name: junk(name) for name in found}
            self.left_out = Counter(reason for reason in reasons.values() if reason)
            self.left_out.update({f"each {kind} ({some_names(own)})": len(own) for kind, own in self._special.items()})
            self._names = sorted(self._checked(name) for name, reason in reasons.items() if reason is None)
        return self._names

    def state(self, names: Iterable[str]) -> str:
        """Return a digest of the files' content in order: from checksums in a zip, else from modification times."""
        if self._zip is None:
            return file_states(f"{self._folder}/{name}" for name in names)
        members = (self._zip.NameToInfo.get(name) for name in names)
        return digest_of(*(f"{member.file_size} {member.CRC}" for member in members if member is not None))

    def _checked(self, name: str) -> str:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise BadInputError(f"{self.location}: {name}: its name isn't UTF-8; rename it") from None
        return name

    def read(self, name: str) -> bytes:
        """Return a file's content; BadInputError if it is missing or damaged."""
        try:
            if self._zip is None:
                return (self._folder / name).read_bytes()
            with self._zip.open(name) as member:
                return limited(member, f"{self.location}: {name}")
        except BadInputError:
            raise
        except KeyError as error:
            raise BadInputError(f"{self.location}: {name}: not in the archive; download it again") from error
        except DAMAGE as error:
            raise damaged(f"{self.location}: {name}", error) from error

    def path(self, name: str) -> str | None:
        """Return a file's path on disk as a string, faster than a Path; None for files of a zip."""
        return f"{self._folder}/{name}" if self._zip is None else None

    def _members(self) -> Iterator[zipfile.ZipInfo]:
        assert self._zip is not None
        return (info for info in self._zip.infolist() if not info.is_dir())

    def _walk(self, folder: str, prefix: str = "", above: tuple[str, ...] = ()) -> Iterator[str]:
        """Yield the paths of the files below a folder; `above` are the folders of the links followed so far."""
        with os.scandir(folder) as found:
            entries = list(found)
        for entry in entries:
            name = prefix + entry.name
            if entry.is_symlink() and junk(name) is None:
                yield from self._follow(entry, name, (*above, folder))
            elif entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path, f"{name}/", above)
                if name.lower().endswith(IMAGE_SUFFIXES) and not any(Path(entry.path).iterdir()):
                    self._leave_out("an empty folder with the name of an image", name)
            elif entry.is_file():
                yield name
            elif junk(name) is None:
                self._leave_out(special_kind(Path(entry.path)), name)

    def _leave_out(self, kind: str, name: str) -> None:
        self._special.setdefault(kind, []).append(printable(name))

    def _follow(self, link: "os.DirEntry[str]", name: str, above: tuple[str, ...]) -> Iterator[str]:
        """Yield the files that a link leads to: any file, or a folder within the source."""
        target = os.path.realpath(link.path)
        if not Path(target).exists():
            raise BadInputError(f"{self.location}: {name}: a link that leads nowhere ({target}); mend or remove it")
        inside = target == self.location or target.startswith(f"{self.location.rstrip('/')}/")
        if kind := special_kind(Path(target)):
            self._leave_out(kind, name)
            return
        if not Path(target).is_dir():
            self.links += [] if inside else [f"{name} -> {target}"]
            yield name
            return
        if not inside:
            raise BadInputError(
                f"{self.location}: {name}: a link to a folder outside the source ({target}); put the folder in its "
                "place, or give as --source a folder that holds both"
            )
        if any(f"{os.path.realpath(one)}/".startswith(f"{target}/") for one in above):
            raise BadInputError(f"{self.location}: {name}: a link that leads in a circle ({target}); remove it")
        self.links.append(f"{name} -> {os.path.relpath(target, self.location)}")
        yield from self._walk(target, f"{name}/", above)


def open_tree(source: Path) -> FileTree:
    """Return the files of a folder or a zip.

    Raises:
        BadInputError: The source is neither, or a zip has an unsafe member.
    """
    if not source.exists():
        raise BadInputError(f"{source}: no such file or folder")
    if kind := special_kind(source):
        raise BadInputError(f"{source}: is {kind}; give a folder or a zip")
    if source.is_file() and first_bytes(source)[:4] not in ZIP_MAGIC:
        raise BadInputError(f"{source}: {_other_kind(source)}")
    return FileTree(source)


def _other_kind(source: Path) -> str:
    """Return in words the kind of a file that isn't a zip, and what to do with it."""
    start = first_bytes(source)
    if source.suffix.lower() == ".parquet" or start.startswith(b"PAR1"):
        return "a Parquet file; prepare it as parquet"
    if is_tar(source) or start.startswith(PACKED):
        return "a packed archive other than zip; unpack it, and give its folder"
    try:
        refuse_kind(start)
    except NotReadError as error:
        return str(error)
    return "neither a folder nor a zip"
