"""The page in a real browser, headless: it asks for nothing, complains of nothing, and answers pointer and keyboard.

Needs a Chromium, which FUSENAS_CHROMIUM names, or that is found by its usual names. Without one these tests are
skipped; where CI is set, they fail. axe checks that people who do not see the page well, or not at all, can use it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from nas.report import report
from nas.space.architecture import Choice
from tests.report.fabricate import add_routes, fabricate_run
from tests.report.test_serve import served
from tests.summaries import write_summary

playwright = pytest.importorskip("playwright.sync_api")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("FUSENAS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"FUSENAS_CHROMIUM names no Chromium, nor is there one of {NAMES}"
        )
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


class Opened:
    """A page that is open, with everything that it asked for and complained of."""

    def __init__(self, browser: Any, path: Path, *, width: int = 1200, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        self.path = path

    def is_quiet(self) -> bool:
        """Whether nothing but the page itself was asked for, and nothing complained of."""
        return self.requests == [self.path.as_uri()] and self.complaints == []


@pytest.fixture(scope="module")
def won(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of several searches, a tournament and attention, which has more sections than the usual one."""
    run = tmp_path_factory.mktemp("won")
    fabricate_run(run, late_won=True, num_searches=3, with_attention=True)
    return report(run)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("usual")
    fabricate_run(run)
    return report(run)


def test_a_node_tells_of_itself_to_pointer_and_keyboard(browser: Any, usual: Path) -> None:
    opened = Opened(browser, usual)
    tip, node = opened.page.locator(".tip"), opened.page.locator("#architecture-node-0")
    assert tip.is_hidden()
    node.hover()
    assert "depth 1: image × words" in tip.inner_text()
    opened.page.keyboard.press("Escape")
    assert tip.is_hidden()
    node.focus()
    opened.page.keyboard.press("Tab")
    assert "depth 2: image + words" in tip.inner_text()
    opened.page.mouse.wheel(0, 50)  # the tip goes along with what it tells of
    assert tip.is_visible()
    assert opened.is_quiet()


def test_the_slider_moves_through_the_search(browser: Any, usual: Path) -> None:
    """The made-up search goes in 40 steps from even weights to its last; entropy of fusion0 from 2.7874… to 2.3."""
    opened = Opened(browser, usual)
    slider, chosen = (
        opened.page.locator("#animation input"),
        opened.page.locator("#animation .node:nth-child(2) .chosen"),
    )
    choice_weight = json.loads((usual.parent / "summary.json").read_text())["nodes"][1]
    choice_weight = choice_weight["choice_weights"][choice_weight["chosen"]]
    assert chosen.locator(".weight").inner_text() == f"{100 * choice_weight:.1f} %"
    assert "2.3" in opened.page.locator("#animation dl").inner_text()
    wide = chosen.locator(".bar").bounding_box()["width"]
    slider.press("Home")
    early = (1 - 1 / 40) / len(json.loads((usual.parent / "summary.json").read_text())["nodes"][1]["choices"])
    assert chosen.locator(".weight").inner_text() == f"{100 * (early + choice_weight / 40):.1f} %"
    assert "2.787" in opened.page.locator("#animation dl").inner_text()
    assert chosen.locator(".bar").bounding_box()["width"] < wide / 3
    assert slider.get_attribute("aria-valuetext").startswith("step 20; heaviest: ")
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext").startswith("step 40; heaviest: ")
    assert opened.is_quiet()


@pytest.mark.parametrize(("motion", "stride"), [("no-preference", 1), ("reduce", 4)])
def test_it_plays_by_keyboard_and_calmly_where_motion_is_unwelcome(
    browser: Any, usual: Path, motion: str, stride: int
) -> None:
    opened = Opened(browser, usual, reduced_motion=motion)
    button, slider = opened.page.locator("#animation button"), opened.page.locator("#animation input")
    button.press("Enter")
    assert button.inner_text() == "Pause"
    assert int(slider.input_value()) < 39  # at the end, where it stood, it begins anew
    playwright.expect(slider).not_to_have_value("0")
    assert int(slider.input_value()) % stride == 0
    button.press("Enter")
    stopped = slider.input_value()
    opened.page.wait_for_timeout(500)
    assert (button.inner_text(), slider.input_value()) == ("Play", stopped)
    assert opened.is_quiet()


def test_without_script_there_is_no_animation_but_the_heat_map(browser: Any, usual: Path) -> None:
    opened = Opened(browser, usual, java_script_enabled=False)
    assert opened.page.locator("#animation").is_hidden()
    assert opened.page.locator("#mixing-figure_1").is_visible()
    assert "depth 1: image × words" in opened.page.locator("#architecture-node-0 title").text_content()


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_is_as_wide_as_the_screen(browser: Any, usual: Path, width: int) -> None:
    opened = Opened(browser, usual, width=width)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    assert opened.is_quiet()


def test_a_comparison_leads_to_a_page(browser: Any, usual: Path, tmp_path: Path) -> None:
    fabricate_run(tmp_path / "other", seed=1)
    comparison = report([usual.parent, tmp_path / "other"], tmp_path / "out")
    opened = Opened(browser, comparison)
    assert opened.is_quiet()
    opened.page.get_by_role("link", name=usual.parent.name).click()
    assert "Fuse image and words: " in opened.page.locator("h1").inner_text()
    assert opened.complaints == []


def test_the_page_is_small_and_there_at_once(browser: Any, usual: Path) -> None:
    assert usual.stat().st_size < 3_000_000
    opened = Opened(browser, usual)
    timing = "performance.getEntriesByType('navigation')[0].domInteractive"
    # A second is what people get; a busy machine may take longer to start the page's own process.
    assert opened.page.evaluate(timing) < 5000


def test_a_page_of_routes_is_as_quiet(browser: Any, tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    write_summary(tmp_path, add_routes(summary, ["image@0"], [Choice("carry", ("image@0",))]))
    (tmp_path / "metrics.jsonl").unlink()  # what is drawn of it takes time and is the same
    opened = Opened(browser, report(tmp_path))
    node, tip = opened.page.locator("#architecture-node-0"), opened.page.locator(".tip")
    node.hover()
    assert "depth 1: image × words" in tip.inner_text()
    assert "route 1" in opened.page.locator(".steps").inner_text()
    assert opened.is_quiet()


def test_headings_go_down_one_step_at_a_time(browser: Any, usual: Path) -> None:
    opened = Opened(browser, usual)
    visible = [heading for heading in opened.page.locator("h1, h2, h3, h4, h5, h6").all() if heading.is_visible()]
    levels = [int(heading.evaluate("heading => heading.tagName[1]")) for heading in visible]
    assert levels[0] == 1
    assert all(0 < level <= before + 1 for before, level in pairwise(levels))
    assert levels.count(1) == 1


def test_a_served_page_is_as_quiet_and_its_files_can_be_opened(browser: Any, usual: Path) -> None:
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    with served(usual.parent) as client:
        page.goto(client.address.replace("127.0.0.1", "localhost"))
        assert "Fuse image and words: " in page.locator("h1").inner_text()
        page.locator("#architecture-node-0").hover()
        assert "depth 1: image × words" in page.locator(".tip").inner_text()
        assert [text for text in complaints if "favicon.ico" not in text and "404" not in text] == []
        assert page.goto(f"{client.address}figures/cost.svg").status == 200
        page.close()  # so that no connection is kept


_HOSTILE = """
<!DOCTYPE html><title>waiting</title>
<iframe src="{0}"></iframe>
<script>
const loading = (name, source) => new Promise((done, failed) => {{
  const element = document.body.appendChild(document.createElement(name));
  Object.assign(element, {{onload: done, onerror: failed, src: source}});
}});
const asked = [
  fetch("{0}summary.txt"), fetch("{0}summary.txt", {{mode: "no-cors"}}),
  loading("img", "{0}figures/cost.svg"), loading("script", "{0}figures/cost.csv"),
];
Promise.allSettled(asked).then((told) => {{ document.title = told.map((one) => one.status).join(" "); }});
</script>
"""


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_hostile_page_in_the_same_browser_gets_nothing(browser: Any, tmp_path: Path, name: str) -> None:
    """From another port of the same site, and from another site."""
    run = tmp_path / "run"
    (run / "figures").mkdir(parents=True)
    (run / "summary.txt").write_text("{}")
    (run / "figures" / "cost.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>')
    (run / "figures" / "cost.csv").write_text("let cost")
    page = browser.new_page()
    answers: list[tuple[str, int]] = []
    page.on("response", lambda response: answers.append((response.url, response.status)))
    handler = partial(_Quiet, directory=str(tmp_path))
    with served(run) as client, ThreadingHTTPServer(("127.0.0.1", 0), handler) as elsewhere:
        own = client.address  # as if it had leaked
        (tmp_path / "hostile.html").write_text(_HOSTILE.format(own))
        Thread(target=elsewhere.serve_forever, daemon=True).start()
        page.goto(f"http://{name}:{elsewhere.server_port}/hostile.html")
        playwright.expect(page).to_have_title("rejected rejected rejected rejected")
        page.wait_for_load_state("networkidle")
        assert {status for url, status in answers if url.startswith(own)} == {403}
        assert not any("Nothing has been recorded" in frame.content() for frame in page.frames)
        page.close()
        elsewhere.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_mend(browser: Any, won: Path, scheme: str, width: int) -> None:
    pytest.importorskip("axe_playwright_python")
    opened = Opened(browser, won, width=width, color_scheme=scheme, bypass_csp=True)
    opened.page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    violations = opened.page.evaluate("axe.run().then(found => found.violations)")
    assert [(one["id"], one["nodes"][0]["html"]) for one in violations] == []
