"""A run folder served: the page as it is by now, files of the folder and no others, to this machine alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Thread

import pytest

from nas.errors import UserError
from nas.report.live import render_live
from nas.report.serve import address, server
from nas.runs import RunFolder
from tests.report.fabricate import fabricate_run
from tests.report.test_report import _Reader


class Client:
    """Asks a server, raw, and keeps what it answers."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, *, host: str | None = None) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest("GET", path, skip_host=host is not None)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
        connection.close()
        return response, text


@contextmanager
def served(folder: Path) -> Iterator[Client]:
    with server(folder) as serving:
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            assert address(serving) == f"http://127.0.0.1:{serving.server_port}/"
            yield Client(serving.server_port)
        finally:
            serving.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("served") / "run"
    fabricate_run(folder)
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "evil.html").write_text("<script>alert(1)</script>")
    with served(folder) as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/report.html", "/?again"])
def test_a_finished_run_has_its_report_and_does_not_load_anew(client: Client, path: str) -> None:
    response, page = client.get(path)
    assert response.status == 200
    assert response.getheader("Refresh") is None
    assert "gains 5.9 points" in page


def test_files_of_the_folder_are_served_and_nothing_in_them_is_run(client: Client) -> None:
    response, csv = client.get("/figures/cost.csv")
    assert response.status == 200
    assert csv.startswith("name,kind,multiply_adds")
    response, _ = client.get("/evil.html")
    assert response.status == 200
    assert (response.getheader("Content-Security-Policy") or "").startswith("sandbox; default-src 'none'")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/figures/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/link.txt",
        "/figures",
        "/figures/",
        "//etc/passwd",
        "/no-such-file",
        "/\0",
    ],
)
def test_what_lies_outside_is_not_served_and_folders_are_not_listed(client: Client, path: str) -> None:
    response, text = client.get(path.replace("\0", "%00"))
    assert response.status == 404
    assert "secret" not in text.replace("secret.txt", "")


@pytest.mark.parametrize("host", ["example.com", "example.com:80", "127.0.0.1.example.com", ""])
def test_a_name_that_is_not_this_machines_is_refused(client: Client, host: str) -> None:
    response, text = client.get("/", host=host)
    assert response.status == 403
    assert "gains" not in text


def test_a_run_that_goes_on_shows_its_course_until_it_has_results(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    (tmp_path / "summary.json").unlink()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text("".join(lines[:45]) + '{"phase": "sea')  # as it is just being written
    with served(tmp_path) as client:
        response, page = client.get("/")
        assert response.getheader("Refresh") == "5"
        assert "Searching" in page
        assert '<dd class="value">45</dd>' in page
        (tmp_path / "metrics.jsonl").write_text("".join(lines[:50]))
        os.utime(tmp_path / "metrics.jsonl", ns=(1, 1))  # whatever the clock's grain
        assert '<dd class="value">50</dd>' in client.get("/")[1]
        assert not (tmp_path / "report.html").exists()  # a run that goes on is only read
        (tmp_path / "summary.json").write_text(json.dumps(summary))
        response, page = client.get("/")
        assert response.getheader("Refresh") is None
        assert "gains 5.9 points" in page


def test_a_search_that_goes_on_shows_its_mixing_weights(tmp_path: Path) -> None:
    nodes = fabricate_run(tmp_path)["nodes"]
    searching = [record for record in RunFolder(tmp_path).read_metrics() if record["phase"] == "search"][:7]
    space = {"phase": "space", "nodes": [{"name": node["name"], "choices": node["choices"]} for node in nodes]}
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
    with pytest.raises(UserError, match=r"metrics\.jsonl' lacks or garbles something: KeyError 'inputs'"):
        server(tmp_path)


def test_damage_that_comes_later_is_told_in_the_browser(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    with served(tmp_path) as client:
        assert "Nothing has been recorded yet" in client.get("/")[1]
        (tmp_path / "metrics.jsonl").write_text("no json\n{}\n")
        response, text = client.get("/")
        assert response.status == 500
        assert "line 1 is not a JSON object" in text


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
