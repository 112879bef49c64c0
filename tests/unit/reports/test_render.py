import html
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from reports.errors import ReportInputError
from reports.model import Counts, DetectorRow, DriftedSegment, MixRow, MovedCell, Opinion, ReportInput, WindowVerdict
from reports.render import render_report

HOSTILE = "</title><script>alert(1)</script>\"' onload='x' &"


class Tags(HTMLParser):
    """What a browser would take for markup."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


def test_the_same_input_gives_the_same_bytes(report: ReportInput) -> None:
    assert render_report(report).encode() == render_report(report).encode()


def test_the_page_loads_and_runs_nothing(report: ReportInput) -> None:
    page = render_report(report).lower()
    for forbidden in ("http://", "https://", "src=", "<script", "@import", "url(", "<link", "<iframe", "javascript:"):
        assert forbidden not in page


def test_no_text_from_outside_becomes_markup(report: ReportInput) -> None:
    row = DetectorRow(HOSTILE, 0.3, HOSTILE, 0.001, 0.2, True)
    hostile = replace(
        report,
        model=HOSTILE,
        version=HOSTILE,
        verdicts=(replace(report.verdicts[1], detectors=(row,), detail=HOSTILE),),
        projection=report.projection and replace(report.projection, axis_labels=(HOSTILE, HOSTILE)),
        cells=(MovedCell(1, 0.1, 0.2, 0.1, (HOSTILE,), (HOSTILE,)),),
        mix=(MixRow(HOSTILE, 0.1, 0.2, 3),),
        provenance=((HOSTILE, HOSTILE),),
        evidently_href=HOSTILE,
    )
    page = render_report(hostile)
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.names
    assert not [name for name in tags.attributes if name.startswith("on")]
    assert page.count("&lt;script&gt;") >= 12


def test_every_plot_on_the_page_is_well_formed_and_named_by_unique_ids(report: ReportInput) -> None:
    page = render_report(replace(report, model="bad\x00\x08\ud800 bytes", mix=(MixRow("nul\x00", 0.1, 0.2, 1),)))
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(plots) == 4
    for plot in plots:
        ET.fromstring(plot)  # noqa: S314 - our own output
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page.encode()


def test_the_sentence_counts_only_judged_windows_and_says_what_has_no_verdict(report: ReportInput) -> None:
    assert (
        "1 of 2 judged windows drifted; latest window (to 2026-01-05 00:00 UTC): failed; "
        "1 had too little data for a verdict; 1 failed." in render_report(report)
    )


def test_a_report_whose_windows_all_lack_data_says_insufficient_evidence(
    report: ReportInput, verdict: Callable[..., WindowVerdict]
) -> None:
    page = render_report(replace(report, verdicts=(verdict(0, "too_little_data", None),)))
    assert "Insufficient evidence: none of 1 window has a verdict" in page
    assert "no drift found" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)


def test_a_report_of_nothing_says_there_is_no_evidence_either_way(report: ReportInput) -> None:
    empty = replace(
        report,
        verdicts=(),
        projection=None,
        cells=(),
        mix=(),
        provenance=(),
        counts=Counts(*[0] * 9),
        evidently_href=None,
    )
    page = render_report(empty)
    assert "there is no evidence either way" in page
    assert "Evidently" not in page
    assert "<h2>Cells that moved" not in page


def test_a_window_called_ok_without_a_verdict_is_not_called_calm(
    report: ReportInput, verdict: Callable[..., WindowVerdict]
) -> None:
    page = render_report(replace(report, verdicts=(verdict(0, "ok", None),)))
    assert "Insufficient evidence" in page


def test_the_table_has_the_newest_window_first_and_marks_drift_with_a_word(report: ReportInput) -> None:
    page = render_report(report)
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    starts = re.findall(r"<tr[^>]*><td[^>]*>(2026-01-0\d)", table)
    assert starts == ["2026-01-04", "2026-01-03", "2026-01-02", "2026-01-01"]
    assert re.findall(r'class="word \w+">([^<]+)<', table) == [
        "failed",
        "insufficient evidence",
        "DRIFT",
        "no drift found",
    ]
    assert "kl_cells 0.3 > 0.2 nats, p = 0.001" in html.unescape(table)


def test_the_sections_stand_in_the_order_a_reader_asks_for_them(report: ReportInput) -> None:
    assert re.findall(r"<h2>([^<]+)</h2>", render_report(report)) == [
        "Verdicts over time",
        "Windows",
        "Detectors",
        "Embeddings",
        "Cells that moved",
        "Prediction mix",
        "Sampling and truncation",
        "Provenance",
    ]


def test_the_reader_learns_how_many_windows_chance_alone_would_mark(report: ReportInput) -> None:
    assert "at most about 0.02 of 2 windows" in render_report(report)  # two judged windows at alpha 0.01


def test_shares_of_counts_are_of_the_right_whole(report: ReportInput) -> None:
    page = render_report(report)
    assert '>accepted</th><td class="number">90</td><td class="number">90%<' in page
    assert '>truncated to the model&#39;s length</th><td class="number">9</td><td class="number">10%<' in page


def test_a_written_report_names_no_overview_and_a_served_one_leads_back(report: ReportInput) -> None:
    assert "All model versions" not in render_report(report)
    assert '<a href="/">' in render_report(replace(report, overview_href="/"))


def test_an_unknown_status_a_reversed_window_and_a_local_time_are_refused(
    verdict: Callable[..., WindowVerdict],
) -> None:
    with pytest.raises(ReportInputError, match="'fine'"):
        verdict(0, "fine")
    with pytest.raises(ReportInputError, match="must end after it starts"):
        verdict(0, end=datetime(2025, 1, 1, tzinfo=UTC))
    with pytest.raises(ReportInputError, match="aware UTC"):
        verdict(0, start=datetime(2025, 1, 1))  # noqa: DTZ001 - a naive time is what is refused


def test_drifted_segments_stand_in_a_table_and_their_values_are_escaped(report: ReportInput) -> None:
    assert "Segments that drifted" not in render_report(report)
    drifted = DriftedSegment({"language": "<de>", "channel": "chat"}, 1310, 255, 0.4213, 1e-4, 0.0021)
    page = render_report(replace(report, segments=(drifted,)))
    assert "Segments that drifted" in page
    assert "language = &lt;de&gt;, channel = chat" in page
    for told in ("1,310", "255", "0.421", "0.0021"):
        assert f'<td class="number">{told}</td>' in page


def test_a_drifted_window_shows_the_raw_cosine_as_never_deciding_and_a_calm_one_does_not(
    report: ReportInput, verdict: Callable[..., WindowVerdict]
) -> None:
    told = "raw cosine of the two mean embeddings: 0.9987 (shown for comparison, never decides)"
    assert told in render_report(replace(report, verdicts=(verdict(0, p_value=0.001, raw_cosine=0.99871),)))
    assert "raw cosine" not in render_report(replace(report, verdicts=(verdict(0, raw_cosine=0.99871),)))
    assert "raw cosine" not in render_report(report)


def test_second_opinions_stand_in_their_window_and_say_that_they_decide_nothing(
    report: ReportInput, verdict: Callable[..., WindowVerdict]
) -> None:
    assert "Second opinions" not in render_report(report)
    asked = verdict(0, p_value=0.001, opinions=(Opinion("classifier", 0.001, True, 0.81),))
    page = html.unescape(render_report(replace(report, verdicts=(asked,))))
    assert "Second opinions on the embeddings, which decide nothing:" in page
    assert "<li>classifier finds a difference (p = 0.001): of a baseline's and a window's text" in page


def test_another_promise_than_alpha_replaces_what_chance_alone_would_mark(report: ReportInput) -> None:
    page = render_report(replace(report, promise="Were nothing to change, one window in about 50 would alarm."))
    assert "one window in about 50 would alarm." in page
    assert "chance alone would mark" not in page
    assert "dashed line are drift" not in page
    assert "dashed line are drift" in render_report(report)


def test_p_change_and_cost_are_explained_below_the_windows(report: ReportInput) -> None:
    page = render_report(report)
    for term in ("p", "What changed", "Cost"):
        assert f"<dt>{term}</dt><dd>" in page
