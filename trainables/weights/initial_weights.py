"""Initial weights of an encoder, as one text: ADDRESS, or ADDRESS#name=NAME&sha256=DIGEST.

A trial's id depends on the content of the file, by its digest, and not on its location.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import parse_qs, quote, unquote

from trainables.errors import BadInputError
from trainables.files.special_file import refuse_special
from trainables.printing.redaction import secret_part
from trainables.weights.catalog import CATALOG, CatalogEntry
from trainables.weights.download import fetched, nearest_entry
from trainables.weights.header import check_header

BANDS = re.compile(r"[#&]bands=[^&]*$")
"""End of a text whose last part names bands."""
PLAIN = re.compile(r"[A-Za-z0-9_-]+")
"""Name of a band, not of a file."""
ID_DIGITS = 16
"""Number of hex digits of a digest that enter a trial's id; files are compared by the whole digest."""
PARTS = ("name", "sha256", "bands")
"""Names of what may follow the address."""
DIGEST = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}")
"""A whole SHA-256, or the first digits of one, as earlier versions wrote it."""


def split_weights(text: str) -> list[str]:
    """Split a text of several weights at its commas, except those between the bands of `#bands=`.

    >>> split_weights("a.pt#bands=B02,B03,b.pt,imagenet_resnet18")
    ['a.pt#bands=B02,B03', 'b.pt', 'imagenet_resnet18']
    """
    found: list[str] = []
    for piece in (one.strip() for one in text.split(",")):
        if found and BANDS.search(found[-1]) and PLAIN.fullmatch(piece) and piece not in CATALOG:
            found[-1] += f",{piece}"
        else:
            found.append(piece)
    return found


@dataclass(frozen=True)
class InitialWeights:
    """Initial weights: their address, name and digest."""

    address: str
    name: str
    """Name for tables and texts; default: the file's name."""
    digest: str = ""
    """SHA-256 of the file (earlier versions: the first 16 digits); empty if not computed yet."""
    bands: tuple[str, ...] = ()
    """Bands of the stem's inputs, in their order; empty if unknown."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the weights that a text names; BadInputError if it has no address."""
        address, _, fragment = text.partition("#")
        if not address:
            raise BadInputError(f"initial_weights: {text!r} names no file")
        if secret := secret_part(text):
            raise BadInputError(
                f"initial_weights: {text}: has {secret}; credentials belong in the environment or a file, as an "
                "address is kept"
            )
        try:
            parts = parse_qs(fragment, max_num_fields=10)
        except ValueError as error:
            raise BadInputError(f"initial_weights: {text[:200]!r}: {error}") from error
        others = [part for part in fragment.split("&") if part and part.partition("=")[0] not in PARTS]
        if others:
            raise BadInputError(f"initial_weights: {text[:200]!r}: {others[0]!r} is none of {', '.join(PARTS)}")
        digest = parts.get("sha256", [""])[0]
        if digest and not DIGEST.fullmatch(digest):
            raise BadInputError(f"initial_weights: sha256 {digest[:80]!r}: must be 64 hex digits (or the first 16)")
        name = parts.get("name", [PurePosixPath(address).stem])[0]
        bands = tuple(band for band in parts.get("bands", [""])[0].split(",") if band)
        if len(set(bands)) < len(bands):
            raise BadInputError(f"initial_weights: {text[:200]!r}: bands has one name twice")
        if bands and address in CATALOG:
            known = ", ".join(CATALOG[address].bands)
            raise BadInputError(f"initial_weights: {text[:200]!r}: {address} has the bands {known}; leave bands= out")
        return cls(address, unquote(name), digest, bands)

    def __str__(self) -> str:
        digest = f"&sha256={self.digest}" if self.digest else ""
        return f"{self.address}#name={quote(self.name)}{digest}" + (f"&bands={','.join(self.bands)}" * bool(self.bands))

    @property
    def entry(self) -> CatalogEntry | None:
        """Catalogue entry that the address names; None for the address of a file."""
        return CATALOG.get(self.address)

    @property
    def identity(self) -> str:
        """Part of a trial's id: the weights' digest, and the catalogue's name or the stated bands of the stem."""
        read_as = self.entry.name if self.entry is not None else ",".join(self.bands)
        # Earlier versions didn't clamp the values.
        clamped = "clamped" if self.entry is not None and self.entry.limits is not None else ""
        return " ".join(part for part in (self.id_digits or self.address, read_as, clamped) if part)

    @property
    def id_digits(self) -> str:
        """Digits of the digest that enter a trial's id."""
        return self.digest[:ID_DIGITS]

    def absolute(self) -> Self:
        """Return the weights with an absolute address."""
        if self.entry is not None:
            return self
        address = self.address if "://" in self.address else str(Path(self.address).expanduser().absolute())
        return replace(self, address=address)

    def pinned(self) -> Self:
        """Return the weights with the digest of the file's present content.

        Raises:
            BadInputError: The file can't be read, is not a weights file, or doesn't match the given digest.
        """
        content = self.content()
        check_header(content, self.address)
        return replace(self.absolute(), digest=hashlib.sha256(content).hexdigest())

    def content(self) -> bytes:
        """Return the file's content; BadInputError if it can't be read or changed since planning."""
        content = self._read()
        now = hashlib.sha256(content).hexdigest()
        if not now.startswith(self.digest):
            raise BadInputError(
                f"initial_weights: {self.address} has changed: sha256 {now}, {self.digest} when it was planned"
            )
        return content

    def _read(self) -> bytes:
        from trainables.storage.filesystem import Storage

        if self.entry is not None:
            return fetched(self.entry).read_bytes()
        if self.address.startswith(("http://", "https://")):
            raise BadInputError(f"initial_weights: {self.address}: download it first, and give the file")
        refuse_special(Path(self.address).expanduser(), f"initial_weights: {self.address}")
        folder, _, file = self.address.rpartition("/")
        try:
            content = Storage.at(folder or ("/" if self.address.startswith("/") else ".")).read(file)
        except OSError as error:
            raise BadInputError(f"initial_weights: {self.address}: can't be read ({error})") from error
        if content is None:
            hint = nearest_entry(self.address) if "/" not in self.address else ""
            raise BadInputError(f"initial_weights: {self.address}: no such file, nor a name of the catalogue{hint}")
        return content
