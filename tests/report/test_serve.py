"""A run folder served: the page as it is by now, files of the folder and no others, to this machine alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from nas.errors import UserError
from nas.records import plain
from nas.report import serve
from nas.report.live import render_live
from nas.report.serve import address, server
from nas.runs.folder import RunFolder
from tests.report.fabricate import fabricate_run
from tests.report.test_report import _Reader
from tests.summaries import write_summary

HANG_SECONDS = 60  # a machine may be busy, but nothing here takes nearly as long


class Answer:
    """What a server has sent until it closed the connection."""

    def __init__(self, content: bytes) -> None:
        head, _, self.body = content.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.split(": ", 1) for line in lines[1:])
        self.text = self.body.decode(errors="replace")


class Client:
    """Sends requests as they are written, and reads what comes back."""

    def __init__(self, address: str) -> None:
        self.address = address
        host, _, self.secret = address.removeprefix("http://").rstrip("/").partition("/")
        self.port = int(host.rpartition(":")[2])

    def asking(self, path: str) -> bytes:
        """A whole request for a file."""
        return f"GET /{self.secret}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=HANG_SECONDS)

    def send(self, request: bytes) -> Answer:
        with self.connect() as connection:
            connection.sendall(request)
            return Answer(read_all(connection))

    def get(self, path: str, *headers: str, host: str = "127.0.0.1", method: str = "GET") -> Answer:
        path = f"/{self.secret}{path}" if path.startswith("/") else path
        return self.send(
            "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode("latin-1")
        )


def read_all(connection: socket.socket) -> bytes:
    """Reads until the other side closes the connection, however it does that."""
    content = b""
    try:
        while chunk := connection.recv(1 << 16):
            content += chunk
    except ConnectionResetError:
        pass
    return content


def reset(connection: socket.socket) -> None:
    """Closes a connection as a process that dies does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def served(folder: Path) -> Iterator[Client]:
    with server(folder) as serving:
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Client(address(serving))
        finally:
            serving.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("served") / "run"
    fabricate_run(folder)
    outside = folder.parent / "outside"
    outside.mkdir()
    for file in (outside / "secret.txt", folder.parent / "secret.txt"):
        file.write_text("secret")
    (folder / "figures").mkdir()
    (folder / "figures" / "cost.csv").write_text("name,kind,multiply_adds\n")
    (folder / "figures" / "cost.SVG").write_text("<svg/>")
    (folder / "weights.safetensors").write_bytes(bytes(range(256)))
    (folder / "link.txt").symlink_to(outside / "secret.txt")
    (folder / "linked").symlink_to(outside)
    (folder / "inner.csv").symlink_to("figures/cost.csv")
    (folder / "evil.html").write_text("<script>alert(1)</script>")
    os.mkfifo(folder / "pipe.txt")
    os.mkfifo(folder / "report.svg")
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        with pytest.MonkeyPatch.context() as there:  # the whole path may be too long for a socket
            there.chdir(folder)
            listening.bind("socket.txt")
        yield stack.enter_context(served(folder))


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A run that has recorded nothing yet, whose page is drawn at once."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text("")
    return folder


@pytest.mark.parametrize("path", ["/", "/report.html", "/?again"])
def test_a_finished_run_has_its_report_and_does_not_load_anew(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status == 200
    assert "Refresh" not in answer.headers
    assert "<h1>Fuse image and words: " in answer.text


def test_files_of_the_folder_are_served_and_nothing_in_them_is_run(client: Client) -> None:
    for path, kind in (
        ("/figures/cost.csv", "text/plain; charset=utf-8"),
        ("/figures/c%6fst.SVG", "image/svg+xml"),
        ("/weights.safetensors", "application/octet-stream"),
        ("/evil.html", "text/html; charset=utf-8"),
    ):
        answer = client.get(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert len(answer.body) == int(answer.headers["Content-Length"]) > 0
    assert client.get("/figures/cost.csv?now").text == "name,kind,multiply_adds\n"


def test_head_is_get_without_the_content(client: Client) -> None:
    for path in ("/", "/weights.safetensors"):
        asked, got = client.get(path, method="HEAD"), client.get(path)
        assert asked.body == b""
        assert {**asked.headers, "Date": ""} == {**got.headers, "Date": ""}
    assert client.get("/none", method="HEAD").status == 404


def test_no_answer_is_shown_in_a_frame_loaded_elsewhere_or_guessed_at(client: Client) -> None:
    for path in ("/", "/evil.html", "/none"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/figures/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/figures/%2e%2e/summary.json",
        "/link.txt",
        "/linked/secret.txt",
        "/inner.csv",
        "/figures",
        "/figures/",
        "/figures\\cost.csv",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "http://127.0.0.1/summary.json",
        "*",
        "/no-such-file",
        "/summary.json/more",
        "/%00",
        "/summary.json%00.svg",
        "/\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
        "/%ff",
        "/pipe.txt",
        "/report.svg",
        "/socket.txt",
        f"/{300 * 'long'}",
        f"/{20_000 * 'a/'}a",
    ],
)
def test_what_lies_outside_or_is_no_file_is_not_served(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status == 404
    assert "secret" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\0\xff\xfe \r\n\r\n", 400),
        (b"GET / HTTP/1.1 more\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: a\r\n" * 1000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 403),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 501),
        (b"DELETE /summary.json HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    ],
)
def test_requests_of_another_form_are_refused(
    client: Client, request_: bytes, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert client.send(request_).status == status
    assert client.get("/summary.json").status == 200
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("path", ["/", "/report.html", "/summary.json", "//", f"/{'a' * 22}/summary.json", "/\xff"])
def test_who_does_not_know_the_address_gets_nothing(client: Client, path: str) -> None:
    answer = client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1"))
    assert answer.status == 404
    assert client.secret not in answer.text


def test_every_server_has_an_address_of_its_own(begun: Path) -> None:
    with served(begun) as one, served(begun) as other:
        assert one.secret != other.secret
        assert len(one.secret) >= 20


def test_what_follows_a_request_is_not_read_as_another(client: Client) -> None:
    asked = client.asking("/figures/cost.csv").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    assert client.send(asked + b"GET /summary.json HTTP/1.1\r\n" + b"\0" * 1000).text == "name,kind,multiply_adds\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "LOCALHOST", "localhost.:80", "[::1]", "[::1]:8000"])
def test_this_machine_goes_by_several_names(client: Client, host: str) -> None:
    assert client.get("/summary.json", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("example.com", "example.com:80", "127.0.0.1.example.com", "localhost.example.com", "", ":80", "localhost:x"),
        *(
            "localhost:80:80",
            "localhost..",
            "evil@localhost",
            "localhost#",
            "[::1",
            "::1",
            "[::2]",
            "[::1].example.com",
        ),
    ],
)
def test_a_name_that_is_not_this_machines_is_refused(client: Client, host: str) -> None:
    answer = client.get("/", host=host)
    assert answer.status == 403
    assert "gains" not in answer.text


def test_another_page_in_the_same_browser_is_refused(client: Client) -> None:
    own = f"127.0.0.1:{client.port}"
    for header, status in (
        ("Sec-Fetch-Site: none", 200),
        ("Sec-Fetch-Site: same-origin", 200),
        ("Sec-Fetch-Site: same-site", 403),  # a page of another port
        ("Sec-Fetch-Site: cross-site", 403),
        (f"Origin: http://{own}", 200),
        ("Origin: http://example.com", 403),
        ("Origin: http://127.0.0.1:1", 403),
        ("Origin: null", 403),
    ):
        for path in ("/", "/summary.json"):
            answer = client.get(path, header, host=own)
            assert answer.status == status
            assert ("gains" in answer.text) == (status == 200)
    assert client.secret not in client.get("/", "Origin: null").text


def state_of(folder: Path) -> dict[Path, tuple[int, ...]]:
    """Every file of a folder, the folder too, with all that changes when it is written."""
    stats = {path: path.stat() for path in (folder, *folder.rglob("*"))}
    return {
        path: (one.st_ino, one.st_mode, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for path, one in stats.items()
    }


def test_a_run_that_goes_on_shows_its_course_until_it_has_results(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    (tmp_path / "summary.json").unlink()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text("".join(lines[:45]) + '{"phase": "sea')  # as it is just being written
    with served(tmp_path) as client:
        answer = client.get("/")
        assert answer.headers["Refresh"] == "5"
        assert "Searching" in answer.text
        assert '<dd class="value">45</dd>' in answer.text
        (tmp_path / "metrics.jsonl").write_text("".join(lines[:50]))
        os.utime(tmp_path / "metrics.jsonl", ns=(1, 1))  # whatever the clock's grain
        assert '<dd class="value">50</dd>' in client.get("/").text
        write_summary(tmp_path, summary)
        before = state_of(tmp_path)
        answer = client.get("/")
        assert "Refresh" not in answer.headers
        assert "<h1>Fuse image and words: " in answer.text
        assert state_of(tmp_path) == before  # a run is only read


def test_a_search_that_goes_on_shows_its_mixing_weights(tmp_path: Path) -> None:
    nodes = plain(fabricate_run(tmp_path))["nodes"]
    searching = [record for record in RunFolder(tmp_path).read_metrics() if record["phase"] == "search"][:7]
    space = {"phase": "space", "nodes": [{key: node[key] for key in ("name", "residual", "choices")} for node in nodes]}
    page = render_live("run", [space, *searching])
    assert "Searching" in _Reader(page).text
    assert '<dd class="value">7</dd>' in page  # as many records
    assert "Mixing weights of every fusion node over the search" in page
    assert 'id="mixing-axes_3"' in page  # a heat map for each of three nodes
    assert "Mixing weights of every fusion node" not in render_live("run", [space])
    assert "Nothing has been recorded yet" in render_live("run", [space])


def test_records_of_another_form_are_told_in_one_line(tmp_path: Path) -> None:
    space = {"phase": "space", "nodes": [{"name": "fusion0", "choices": [{}]}]}
    weights = {"phase": "search", "step": 1, "mixing_weights": {"fusion0": [1.0]}}
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "metrics.jsonl").write_text(f"{json.dumps(space)}\n{json.dumps(weights)}\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl' lacks or garbles something: UserError residual is missing"):
        server(tmp_path)


def test_damage_that_comes_later_is_told_in_the_browser_and_goes_with_it(begun: Path) -> None:
    with served(begun) as client:
        assert "Nothing has been recorded yet" in client.get("/").text
        (begun / "metrics.jsonl").write_text("no json\n{}\n")
        for _ in range(2):
            answer = client.get("/")
            assert answer.status == 500
            assert "line 1 is not a JSON object" in answer.text
        (begun / "metrics.jsonl").write_text("{}\n")
        assert client.get("/").status == 200
        (begun / "checkpoints").mkdir()
        (begun / "summary.json").mkdir()
        (begun / "checkpoints" / "run.json").write_text("{")
        assert client.get("/").status == 200
        begun.rename(begun.with_name("elsewhere"))
        assert client.get("/config.toml").status == 404
        assert client.get("/").status == 200


def test_a_folder_that_is_not_there_or_damaged_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder at"):
        server(tmp_path / "none")
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        server(tmp_path)


def test_of_several_searches_the_last_one_is_shown(tmp_path: Path) -> None:
    fabricate_run(tmp_path)
    records = [record for record in RunFolder(tmp_path).read_metrics() if record["phase"] == "search"]
    first, second = ([{**record, "search": seed} for record in records] for seed in (0, 1))
    page = render_live("<b>", [*first, *second[:7]])
    reader = _Reader(page)
    assert "<b>" in reader.text
    assert reader.tags.count("svg") == 2
    assert '<dd class="value">140</dd>' in page  # step of the seventh record of the second search


def test_the_page_is_drawn_once_for_all_who_ask_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fabricate_run(tmp_path)
    drawn = []

    def draw(folder: RunFolder) -> tuple[list[Any], str]:
        drawn.append(folder)
        time.sleep(0.2)  # time for the others to ask
        return [], f"page {len(drawn)}"

    monkeypatch.setattr(serve, "render_report", draw)
    with served(tmp_path) as client, ThreadPoolExecutor(20) as pool:
        assert client.get("/").text == "page 1"
        os.utime(tmp_path / "summary.json", ns=(1, 1))
        assert {answer.text for answer in pool.map(client.get, ["/"] * 20)} == {"page 2"}


def test_two_hundred_are_served_at_once_while_another_says_nothing(begun: Path) -> None:
    with served(begun) as client, ExitStack() as stack:
        silent, *others = [stack.enter_context(client.connect()) for _ in range(201)]
        for connection in others:
            connection.sendall(client.asking("/"))
        answers = [Answer(read_all(connection)) for connection in others]
        assert [answer.status for answer in answers] == [200] * 200
        assert len({answer.body for answer in answers}) == 1
        silent.sendall(client.asking("/config.toml"))
        assert Answer(read_all(silent)).status == 200


def test_a_request_has_a_deadline_however_slowly_it_comes(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "REQUEST_SECONDS", 0.5)
    with served(begun) as client, client.connect() as silent, client.connect() as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        num_sent = 0
        with suppress(ConnectionError):
            while num_sent < 10 * HANG_SECONDS:
                slow.sendall(b"A: a\r\n")
                num_sent += 1
                time.sleep(0.1)
        assert 2 < num_sent < 10 * HANG_SECONDS
        assert read_all(silent) == b""


def test_who_comes_when_all_threads_are_taken_waits_for_one(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(serve, "REQUEST_SECONDS", 2.0)
    with served(begun) as client, client.connect(), client.connect():
        begun_at = time.monotonic()
        assert client.get("/config.toml").status == 200
        assert time.monotonic() - begun_at > 0.5


def test_a_mistake_of_ours_is_not_hidden_and_stops_nothing(
    begun: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(begun) as client:
        with monkeypatch.context() as broken:
            broken.setattr(RunFolder, "reading", lambda *_, **__: 1 / 0)
            with client.connect() as connection:
                connection.sendall(client.asking("/config.toml"))
                assert read_all(connection) == b""
        assert client.get("/config.toml").status == 200
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.slow
def test_the_command_says_nothing_of_broken_connections_and_ends_at_once(begun: Path) -> None:
    with (begun / "large.bin").open("wb") as file:
        file.truncate(1 << 30)
    command = [str(Path(sys.executable).with_name("fusenas")), "report", str(begun), "--serve", "--json"]
    told = begun.with_name("stderr.txt")
    with told.open("w") as stderr, ExitStack() as stack:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        stack.enter_context(process)
        stack.callback(process.kill)  # comes before the process is waited for
        assert process.stdout is not None
        client = Client(json.loads(process.stdout.readline())["address"])
        asked = client.asking("/large.bin")
        held = [stack.enter_context(client.connect()) for _ in range(3)]
        held[0].sendall(asked)  # a download that goes on
        held[1].sendall(b"GET / HT")
        for _ in range(20):
            for request, num_read in ((asked, 1 << 20), (asked, 0), (b"GET / HT", 0), (b"", 0), (b"\0\r\n" * 1000, 1)):
                connection = client.connect()
                connection.sendall(request)
                if num_read:
                    connection.recv(num_read)
                reset(connection)
            with client.connect() as connection:  # closed, but in good order
                connection.sendall(asked)
                connection.recv(1)
            with client.connect() as connection:
                connection.shutdown(socket.SHUT_WR)
        assert client.get("/").status == 200
        assert told.read_text() == ""
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_SECONDS) == 130
    assert told.read_text() == ""
