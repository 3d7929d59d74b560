"""Serves a run folder to this machine's own browser, and draws its page anew while the run goes on."""

from __future__ import annotations

import io
from functools import partial
from http import HTTPStatus
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any, BinaryIO

from nas.checkpoint import status
from nas.errors import UserError
from nas.report import report
from nas.report.damage import damage_told
from nas.report.live import render_live
from nas.runs import RunFolder

REFRESH_SECONDS = 5
LOOPBACK = "127.0.0.1"


def server(run: str | Path) -> HTTPServer:
    """A server of one run folder, finished or not, on a free port of the loopback device.

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
    return HTTPServer((LOOPBACK, 0), partial(_Handler, pages=pages, directory=str(folder.path)))


def address(serving: HTTPServer) -> str:
    """Where a browser finds it."""
    return f"http://{LOOPBACK}:{serving.server_port}/"


class _Pages:
    """The page of a run as it is by now; what has not changed is not drawn again."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._of: tuple[Path, int] | None = None
        self._page = b""

    def is_going_on(self) -> bool:
        """Whether there may be more to show later."""
        return not self.folder.summary.is_file() or status(self.folder.checkpoints) == "stopped"

    def current(self) -> bytes:
        """The report, or how the run goes until it has results."""
        source = self.folder.summary if self.folder.summary.is_file() else self.folder.metrics
        state = source, source.stat().st_mtime_ns if source.is_file() else 0
        if state != self._of:
            if source == self.folder.summary:
                self._page = report(self.folder.path).read_bytes()
            else:
                records = self.folder.read_metrics() if source.is_file() else []
                with damage_told(repr(str(self.folder.metrics))):
                    self._page = render_live(self.folder.path.name, records).encode(errors="replace")
            self._of = state
        return self._page


class _Handler(SimpleHTTPRequestHandler):
    """Answers with the page, or with a file that really lies in the folder; never with a list of files."""

    def __init__(self, *arguments: Any, pages: _Pages, **options: Any) -> None:
        self.pages = pages
        super().__init__(*arguments, **options)

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """What GET and HEAD begin with."""
        # A foreign page may have its own name lead to the loopback device; the name in the request gives it away.
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in (LOOPBACK, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        if self._is_page():
            return self._send_page()
        name, root = self.translate_path(self.path), self.pages.folder.path.resolve()
        is_odd = "\0" in name or ".." in self.path
        if is_odd or not Path(name).resolve().is_relative_to(root) or not Path(name).is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def _is_page(self) -> bool:
        return getattr(self, "path", "").split("?", 1)[0] in ("/", "/report.html")

    def _send_page(self) -> io.BytesIO | None:
        try:
            page = self.pages.current()
        except UserError as error:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, explain=str(error))
            return None
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        if self.pages.is_going_on():
            self.send_header("Refresh", str(REFRESH_SECONDS))
        self.end_headers()
        return io.BytesIO(page)

    def end_headers(self) -> None:
        """A file of a stranger's run is shown, but nothing in it is run."""
        if not self._is_page():
            self.send_header("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # its name there
        """Says nothing: only the command line prints."""
