"""Serves a run folder to this machine's own browser, and draws its page anew while the run goes on.

It only reads: the page is drawn in memory, so that a folder that is in use or cannot be written is served as well.

Who may ask: whoever knows the address, a part of which is drawn at random, so that other users of the machine do not. A
page from elsewhere that is open in the same browser can send requests to this address, but the browser tells whose they
are, and those are refused.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import socket
import sys
import time
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from threading import BoundedSemaphore, Lock
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from nas.errors import UserError
from nas.report import render_report
from nas.report.damage import report_damage
from nas.report.live import render_live
from nas.runs.checkpoint import status
from nas.runs.folder import RunFolder

REFRESH_SECONDS = 5
LOOPBACK = "127.0.0.1"
MAX_CONNECTIONS = 256  # at a time, with a thread each; more wait in the system's queue
REQUEST_SECONDS = 10.0  # for the whole request, however slowly its bytes come in
SEND_SECONDS = 30.0  # for each chunk of an answer
WAIT_SECONDS = 20.0  # for a thread that is free; longer than a silent connection can hold one
CHUNK_BYTES = 64 * 1024

_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost\.?|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_PLAIN = "text/plain; charset=utf-8"
_TYPES = {
    **dict.fromkeys((".csv", ".dot", ".graphml", ".json", ".jsonl", ".md", ".py", ".toml", ".txt"), _PLAIN),
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_NOTHING_RUNS = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_OUR_PAGE = "frame-ancestors 'none'"  # the page itself says what else it may do


def server(run: str | Path) -> Server:
    """Makes a server of one run folder, finished or not, on a free port of the loopback device.

    Args:
        run: The folder.

    Raises:
        UserError: If there is no such folder, or what is in it is damaged.
    """
    folder = RunFolder(run)
    if not folder.path.is_dir():
        raise UserError(f"no run folder at {str(folder.path)!r}; expected one that `fusenas search` has begun")
    pages = _Pages(folder)
    pages.current()  # damage is told now, and not to the browser
    return Server((LOOPBACK, 0), partial(_Handler, pages=pages))


def address(serving: Server) -> str:
    """Where a browser finds it."""
    return f"http://{LOOPBACK}:{serving.server_port}{serving.secret}/"


class Server(ThreadingTCPServer):
    """A thread for each connection, as many as `MAX_CONNECTIONS`. No connection can stop the others or the server."""

    request_queue_size = 1024
    daemon_threads = True  # a download does not hold up Ctrl-C

    def __init__(self, *arguments: Any) -> None:
        self.secret = f"/{secrets.token_urlsafe(16)}"  # every path begins with it
        self._free = BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(*arguments)

    @property
    def server_port(self) -> int:
        """The port that the system has chosen."""
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a thread for a connection, or drops it if none has become free in time."""
        if not self._free.acquire(timeout=WAIT_SECONDS):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system gives no more threads
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a connection that broke, which is the other side's right; anything else is our mistake."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Pages:
    """The page of a run as it is by now. It is drawn once for each state of the run, however many ask at once."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._drawing = Lock()
        self._of: tuple[Path, int, int] | None = None
        self._page = b""
        self._damage: str | None = None

    def current(self) -> tuple[bytes, bool]:
        """The report, or how the run goes until it has results; and whether there may be more to show later.

        Raises:
            UserError: If files of the run are damaged or cannot be read.
        """
        with self._drawing:
            try:
                return self._current()
            except OSError as error:
                raise UserError(f"cannot read {str(self.folder.path)!r}: {error.strerror}") from error

    def _current(self) -> tuple[bytes, bool]:
        has_results = self.folder.is_file("summary.json")
        source = self.folder.summary if has_results else self.folder.metrics
        found = source.stat() if self.folder.is_file(source.name) else None
        state = (source, found.st_mtime_ns, found.st_size) if found else (source, 0, 0)
        if state != self._of:
            try:
                self._page, self._damage = self._draw(has_results=has_results), None
            except UserError as error:
                self._damage = str(error)
            self._of = state
        if self._damage is not None:
            raise UserError(self._damage)
        return self._page, not has_results or status(self.folder.checkpoints) == "stopped"

    def _draw(self, *, has_results: bool) -> bytes:
        if has_results:
            _, page = render_report(self.folder)
        else:
            records = self.folder.read_metrics() if self.folder.is_file("metrics.jsonl") else []
            with report_damage(repr(str(self.folder.metrics))):
                page = render_live(self.folder.path.name, records)
        return page.encode(errors="replace")


class _Hurried(io.RawIOBase):
    """What a connection sends until a deadline; a timeout of the socket alone would begin anew with every byte."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    """Answers with the page, or with a file that really lies in the folder; never with a list of files."""

    server: Server
    default_request_version = "HTTP/1.0"  # before it there were no headers, which all our answers need

    def __init__(self, *arguments: Any, pages: _Pages) -> None:
        self.pages = pages
        self._policy = _NOTHING_RUNS
        super().__init__(*arguments)

    def setup(self) -> None:
        """Gives the request a deadline."""
        super().setup()
        self.rfile = io.BufferedReader(_Hurried(self.connection, REQUEST_SECONDS))

    def do_GET(self) -> None:
        """Answers GET, and HEAD without the content."""
        self.connection.settimeout(SEND_SECONDS)
        if not self._may_ask():
            explain = "Copy the address that fusenas has printed into the browser; no other page may load it."
            self.send_error(HTTPStatus.FORBIDDEN, explain=explain)
            return
        secret, path = self.path[: len(self.server.secret)], self.path[len(self.server.secret) :].split("?", 1)[0]
        if not secrets.compare_digest(secret.encode(), self.server.secret.encode()):
            self.send_error(HTTPStatus.NOT_FOUND)
        elif path in ("/", "/report.html"):
            self._send_page()
        else:
            self._send_file(path)

    do_HEAD = do_GET  # noqa: N815  # its name there

    def _may_ask(self) -> bool:
        """Whether the request comes from no foreign page.

        A foreign page may have its own name lead to the loopback device, which the name in the request gives away.
        Requests to our own name bear the site of the page that they come from.
        """
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not _OWN_HOST.fullmatch(hosts[0].strip()):
            return False
        origin = self.headers.get("Origin")
        is_own_origin = origin is None or origin.lower() == f"http://{hosts[0].strip().lower()}"
        return is_own_origin and self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")

    def _send_page(self) -> None:
        try:
            page, is_going_on = self.pages.current()
        except UserError as error:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, explain=str(error))
            return
        self._policy = _OUR_PAGE
        refresh = {"Refresh": str(REFRESH_SECONDS)} if is_going_on else {}
        self._send(io.BytesIO(page), len(page), _TYPES[".html"], refresh)

    def _send_file(self, path: str) -> None:
        name = os.fsdecode(unquote_to_bytes(path.encode("latin-1")).removeprefix(b"/"))
        try:
            with self.pages.folder.reading(name, max_bytes=sys.maxsize) as opened:
                file = io.FileIO(os.dup(opened.fileno()))  # what breaks from here on is the connection
        except UserError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind = _TYPES.get(Path(name).suffix.lower(), "application/octet-stream")
        with file:
            self._send(file, os.fstat(file.fileno()).st_size, kind, {})

    def _send(self, content: BinaryIO, length: int, kind: str, headers: dict[str, str]) -> None:
        """Sends so many bytes, also where the file grows meanwhile."""
        self.send_response(HTTPStatus.OK)
        for name, value in {"Content-Type": kind, "Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        while chunk := content.read(min(length, CHUNK_BYTES)):
            self.wfile.write(chunk)
            length -= len(chunk)

    def end_headers(self) -> None:
        """Nothing in a stranger's file or in a message is run, and no other page may show or load what is sent."""
        self.send_header("Content-Security-Policy", self._policy)
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # its name there
        """Says nothing: only the command line prints."""
