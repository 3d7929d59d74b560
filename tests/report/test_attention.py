"""What looks at what, on the page: pictures with heat, matrices, words for both, and nothing where there is nothing."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.errors import UserError
from nas.records import plain
from nas.report import report
from nas.report.attention import MAX_TILES, PADDING, draw_heats, draw_shares, lookings, samples_in_words
from nas.summary import Attention, AttentionMap, AttentionSample, AttentionTokens, Summary
from tests.report.fabricate import fabricate_run
from tests.summaries import known, write_summary


@pytest.fixture
def told(tmp_path: Path) -> Summary:
    return fabricate_run(tmp_path, with_attention=True)


def tokens(source: str, count: int, samples: int = 1) -> AttentionTokens:
    return AttentionTokens(source=source, labels=(tuple(f"t{number}" for number in range(count)),) * samples)


def regions_of(summary: Summary) -> AttentionTokens:
    """Those of the first sample."""
    both = known(summary.attention).maps[0].asked[0]
    return replace(both, labels=both.labels[:1], pictures=both.pictures[:1])


def with_map(summary: Summary, one: AttentionMap) -> Summary:
    sample = AttentionSample(sample=0, target="a", answer="b")
    return replace(summary, attention=Attention(samples=(sample,), maps=(one,)))


def test_words_that_look_at_a_picture_are_drawn_on_it_and_the_other_way_round_as_a_matrix(told: Summary) -> None:
    by_words, by_image = lookings(told)
    assert (by_words.title, by_image.title) == ("Words looking at image", "Image looking at words")
    assert by_words.where == "cross attention at depth 1"
    assert (list(by_words.heats), list(by_words.shares)) == (["attention-1-on-0"], [])
    assert (list(by_image.heats), list(by_image.shares)) == ([], ["attention-2"])
    heat = by_words.heats["attention-1-on-0"][0]
    assert heat.labels == ("a", "<b>cat</b>", "sat")  # padding does not look at anything
    assert heat.pixels[2, 4].tolist() == [255, 0, 0]
    assert np.unravel_index(heat.weights[1].argmax(), (4, 4)) == (1, 2)


def test_padding_is_one_column(told: Summary) -> None:
    shares = lookings(told)[1].shares["attention-2"]
    assert shares[1].columns == (("words", "no"), ("words", "cat"), ("words", PADDING), ("", "nothing"))
    np.testing.assert_allclose(shares[1].weights, [[0.2, 0.2, 0.4, 0.2]] * 16)


@pytest.mark.parametrize(
    ("asking", "asked", "title"),
    [
        (["wave@0"], ["wave@0", ""], "Wave looking at itself"),
        (["wave@0", "text@1"], ["wave@0", "text@1"], "Wave and text looking at one another"),
        ([""], ["wave@0", ""], "The network’s own tokens looking at wave"),
        (["fusion0"], ["wave@0", "text@1"], "What was fused looking at wave and text"),
    ],
)
def test_titles_tell_who_looks_at_whom(told: Summary, asking: list[str], asked: list[str], title: str) -> None:
    sides = [tuple(tokens(source, 2) for source in side) for side in (asking, asked)]
    keys = 2 * len(asked)
    weights = (((1 / keys,) * keys,) * (2 * len(asking)),)
    one = AttentionMap(node="fusion1", operation="any", asking=sides[0], asked=sides[1], weights=weights)
    (found,) = lookings(with_map(told, one))
    assert found.title == title
    assert not found.heats
    assert list(found.shares) == ["attention-1"]


def test_a_picture_among_others_has_a_matrix_beside_it(told: Summary) -> None:
    side = (tokens("text@0", 2), regions_of(told))
    one = AttentionMap(node="f", operation="any", asking=side, asked=side, weights=(((1 / 18,) * 18,) * 18,))
    (found,) = lookings(with_map(told, one))
    assert found.heats["attention-1-on-1"][0].labels == ("t0", "t1")  # what regions see is in the matrix
    assert found.shares["attention-1"][0].weights.shape == (18, 18)


def test_of_many_words_those_that_look_hardest_are_drawn(told: Summary) -> None:
    weights = np.full((1, 40, 16), 1 / 16)
    weights[0, 30:, 3] = 0.9
    rows = tuple(tuple(tuple(row) for row in some) for some in weights.tolist())
    one = AttentionMap(
        node="f", operation="any", asking=(tokens("text@0", 40),), asked=(regions_of(told),), weights=rows
    )
    (heat,) = lookings(with_map(told, one))[0].heats["attention-1-on-0"]
    assert len(heat.labels) == MAX_TILES
    assert heat.labels[-10:] == tuple(f"t{number}" for number in range(30, 40))
    assert len(draw_heats([heat]).axes) == 1 + MAX_TILES


def test_a_tile_bears_its_word_and_its_largest_share(told: Summary) -> None:
    tiles = draw_heats(lookings(told)[0].heats["attention-1-on-0"]).axes
    assert [(tile.get_title(), [text.get_text() for text in tile.texts]) for tile in tiles[:4]] == [
        ("", []),
        ("a", ["5"]),
        ("<b>cat</b>", ["70"]),
        ("sat", ["5"]),
    ]


def test_a_matrix_names_its_rows_columns_and_sources(told: Summary) -> None:
    first, *_ = draw_shares(lookings(told)[1].shares["attention-2"]).axes
    assert [label.get_text() for label in first.get_xticklabels()] == ["a", "<b>cat</b>", "sat", PADDING, "nothing"]
    assert len(first.get_yticklabels()) == 16
    assert [text.get_text() for text in first.texts] == ["image", "words", ""]


def test_which_samples_are_shown_is_told(told: Summary) -> None:
    words = "Shown: the first test samples of different classes, 1 answered right and 1 answered wrong."
    assert samples_in_words(told) == words
    numbers = AttentionSample(sample=0, target="1.5", answer="1.4")
    other = replace(told, attention=Attention(samples=(numbers,), maps=()))
    assert samples_in_words(other) == "Shown: the first sample of the test split."
    assert samples_in_words(replace(told, attention=None)) == ""


def test_page_and_tables_tell_it(told: Summary, tmp_path: Path) -> None:
    page = report(tmp_path).read_text()
    assert '<h2 id="attention">What looks at what</h2>' in page
    assert "not why the answer is what it is (Jain and Wallace 2019" in page
    assert "Only the first 2 of 3 attentions are shown." in page
    assert "<b>cat" not in page
    assert "sample 0: class 1, answered right: &lt;b&gt;cat&lt;/b&gt; most at row 2, column 3 (70 %)" in page
    rows = list(csv.DictReader((tmp_path / "figures" / "attention-1-on-0.csv").read_text().splitlines()))
    peak = max(rows, key=lambda row: float(row["share"]))
    assert (peak["asking"], peak["row"], peak["column"], peak["share"]) == ("<b>cat</b>", "2", "3", "0.7")
    rows = list(csv.DictReader((tmp_path / "figures" / "attention-2.csv").read_text().splitlines()))
    assert len(rows) == 16 * (5 + 4)
    assert rows[3] == {
        "sample": "sample 0: class 1, answered right",
        "asking_source": "image",
        "asking": "row 1, column 1",
        "asked_source": "words",
        "asked": PADDING,
        "share": "0.2",
    }


@pytest.mark.parametrize("attention", [None, Attention(samples=(), maps=())])
def test_without_attention_there_is_no_such_section(tmp_path: Path, attention: Attention | None) -> None:
    write_summary(tmp_path, replace(fabricate_run(tmp_path), attention=attention))
    assert "What looks at what" not in report(tmp_path).read_text()
    assert not list((tmp_path / "figures").glob("attention*"))


@pytest.mark.parametrize("pixels", ["AAAA", "no base64"])
def test_a_picture_that_is_none_is_told(told: Summary, tmp_path: Path, pixels: str) -> None:
    values = plain(told)
    values["attention"]["maps"][0]["asked"][0]["pictures"][0]["pixels"] = pixels
    write_summary(tmp_path, values)
    with pytest.raises(UserError, match=r"summary\.json"):
        report(tmp_path)
