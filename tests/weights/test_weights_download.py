"""Downloads of published weights from servers that answer anything else than the file."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sweep.weights import main
from trainables.errors import BadInputError
from trainables.fields.overrides import parse_assignments
from trainables.weights.catalog import CATALOG, CatalogEntry
from trainables.weights.download import MIRROR, fetched, weights_folder
from trainables.weights.initial_weights import InitialWeights, split_weights

NAME = "imagenet_resnet18"
CONTENT = b"\x80\x02" + bytes(1002)


def whole(answer: "Server", content: bytes = CONTENT, *, length: int | None = None) -> None:
    answer.send_response(200)
    answer.send_header("Content-Length", str(len(content) if length is None else length))
    answer.end_headers()
    answer.wfile.write(content)
    answer.close_connection = True


def moved(answer: "Server", place: str) -> None:
    answer.send_response(302)
    answer.send_header("Location", place)
    answer.end_headers()


def no_http(answer: "Server") -> None:
    answer.wfile.write(b"hello\r\n")
    answer.close_connection = True


def torn_chunk(answer: "Server") -> None:
    answer.send_response(200)
    answer.send_header("Transfer-Encoding", "chunked")
    answer.end_headers()
    answer.wfile.write(b"100\r\nabc")
    answer.close_connection = True


ANSWERS: dict[str, Callable[["Server"], None]] = {
    "whole": whole,
    "cut": lambda answer: whole(answer, CONTENT[:500], length=len(CONTENT)),
    "page": lambda answer: whole(answer, b"<!DOCTYPE html><html>Log in</html>"),
    "other": lambda answer: whole(answer, CONTENT + b"x"),
    "absent": lambda answer: answer.send_error(404),
    "garbage": no_http,
    "torn": torn_chunk,
    "round": lambda answer: moved(answer, answer.path),
    "elsewhere": lambda answer: moved(answer, "http://example.invalid/x"),
    "ftp": lambda answer: moved(answer, "ftp://127.0.0.1:9/x"),
    "near": lambda answer: moved(answer, "/whole/x"),
}


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        ANSWERS[self.path.split("/")[1]](self)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture
def entry(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CatalogEntry:
    own = replace(CATALOG[NAME], digest_prefix=hashlib.sha256(CONTENT).hexdigest()[:8])
    monkeypatch.setitem(CATALOG, NAME, own)
    monkeypatch.setenv("SWEEP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv(MIRROR, f"{server}/whole")
    return own


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cut", "the connection ended after 500 of 1,004 bytes"),
        ("page", "isn't a file of weights but a web page"),
        ("other", "isn't imagenet_resnet18: its sha256 begins with"),
        ("absent", r"HTTP 404: Not Found\); download https://download.pytorch.org/.* and put it at "),
        ("garbage", "BadStatusLine: hello"),
        ("torn", "IncompleteRead"),
        ("round", "HTTP 302: "),
        ("elsewhere", r"leads to http://example.invalid/x, which isn't https"),
        ("ftp", r"leads to ftp://127.0.0.1:9/x, which isn't https"),
    ],
)
def test_an_answer_that_isnt_the_file_is_one_line_and_nothing_is_kept(
    kind: str, words: str, entry: CatalogEntry, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR, f"{server}/{kind}")
    with pytest.raises(BadInputError, match=words) as caught:
        fetched(entry)
    assert len(str(caught.value).splitlines()) == 1
    assert "remove it" not in str(caught.value)
    assert not weights_folder().exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:abc", "http://127.0.0.1:9/a b", "http://[127.0.0.1/", "ftp://h"])
def test_an_address_that_is_none_is_one_line(
    address: str, entry: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR, address)
    with pytest.raises(BadInputError, match="and put it at") as caught:
        fetched(entry)
    assert len(str(caught.value).splitlines()) == 1


def test_a_redirection_on_the_same_server_is_followed(
    entry: CatalogEntry, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR, f"{server}/near")
    assert fetched(entry).read_bytes() == CONTENT


def test_a_file_put_by_hand_that_is_another_one(entry: CatalogEntry) -> None:
    weights_folder().mkdir()
    (weights_folder() / entry.file_name).write_bytes(CONTENT[:500])
    with pytest.raises(BadInputError, match=r"remove it to download it again, or put the file of https://\S+ there"):
        fetched(entry)


@pytest.mark.parametrize("name", ["IMAGENET_RESNET18", "imagenet-resnet18", "imagenet_resnet_18"])
def test_a_name_in_another_spelling_is_suggested(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInputError, match=r"no such file, nor a name of the catalogue; did you mean 'imagenet_resne"):
        InitialWeights.parse(name).pinned()
    with pytest.raises(SystemExit) as ended:
        main(["fetch", name])
    assert ended.value.code == 2
    assert "not in the catalogue; did you mean 'imagenet_resnet18'" in capsys.readouterr().err


def test_commas_between_bands_split_nothing() -> None:
    assert split_weights("a.pt#bands=B02,B03,b/c.pt,d.pt#name=x&bands=red,nir,imagenet_resnet18") == [
        "a.pt#bands=B02,B03",
        "b/c.pt",
        "d.pt#name=x&bands=red,nir",
        "imagenet_resnet18",
    ]
    found = parse_assignments(["initial_weights=a.pt#bands=B02,B03,B08", "encoder=resnet18,resnet34"])
    assert found == {"initial_weights": ["a.pt#bands=B02,B03,B08"], "encoder": ["resnet18", "resnet34"]}


def test_bands_of_the_catalogue_arent_said_again() -> None:
    with pytest.raises(BadInputError, match=r"imagenet_resnet18 has the bands red, green, blue; leave bands= out"):
        InitialWeights.parse("imagenet_resnet18#bands=B02,B03,B04")
