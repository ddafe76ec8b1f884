"""Downloads of published archives and lists, kept in the root's .downloads folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trainables.data.dataset_facts import PublishedFile
from trainables.data.preparing.decode_workers import Progress
from trainables.data.preparing.partial_file import RemoteFile
from trainables.data.sources.source import PrepareRequest

DOWNLOADS = ".downloads"


def fetch(request: PrepareRequest, root: Path, url: str | None, progress: Progress | None) -> PrepareRequest:
    """Download the archive and the lists that the options need, and return the request with their paths.

    Args:
        request: Data set and options.
        root: Folder of all stores.
        url: Mirror of the archive; None: the published address.
        progress: Function called with a description, the count so far and the total (None: unknown).

    Raises:
        BadInputError: A file can't be downloaded or verified.
    """
    archive = request.facts.archive
    assert archive is not None
    folder = root / DOWNLOADS / request.facts.name
    lists = [] if request.lists is not None else _needed_lists(request)
    for published in lists:
        _download(published, folder, progress)
    source = _download(replace(archive, url=url or archive.url), folder, progress)
    return replace(request, source=source, lists=request.lists or (folder if lists else None))


def _needed_lists(request: PrepareRequest) -> list[PublishedFile]:
    if request.facts.name in ("eurosat", "eurosat_ms"):
        return list(request.facts.lists) if request.options.splits == "spatial" else []
    if request.facts.name != "bigearthnet_v1":
        return list(request.facts.lists)
    wanted = ["/train.", "/val.", "/test."] if request.options.splits == "official" else []
    wanted += [{"snow": "seasonal_snow", "cloud": "cloud_and_shadow"}[name] for name in request.options.exclude]
    return [published for published in request.facts.lists if any(part in published.url for part in wanted)]


def _download(published: PublishedFile, folder: Path, progress: Progress | None) -> Path:
    from trainables.data.preparing.download import download  # imports requests, which images at hand don't need

    remote = RemoteFile(published.url, published.bytes, published.md5)
    return download(remote, folder, progress=_file_progress(published, progress))


def _file_progress(published: PublishedFile, progress: Progress | None) -> Callable[[int, int | None], None] | None:
    if progress is None:
        return None
    task = f"downloading {published.url.rsplit('/', 1)[-1]}"
    return lambda done, total: progress(task, done, total)
