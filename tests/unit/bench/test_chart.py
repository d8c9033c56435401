"""Pictures of figures: well-formed, to scale, and safe for any words."""

from __future__ import annotations

from xml.etree import ElementTree

from taskrunner.bench.chart import Bar, Line, bars, lines

SVG = "{http://www.w3.org/2000/svg}"


def drawn(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(picture)


def words(picture: str) -> list[str]:
    return [element.text or "" for element in drawn(picture).iter(f"{SVG}text")]


def test_bars_are_to_scale() -> None:
    picture = bars("rates", "jobs/s", [Bar("one", 100.0), Bar("other", 25.0)])
    widths = [float(r.get("width", "0")) for r in drawn(picture).iter(f"{SVG}rect")][1:]
    assert widths[0] == 4 * widths[1] > 0
    assert {"rates", "jobs/s", "one", "other", "100", "25"} <= set(words(picture))


def test_a_spread_is_drawn_and_stays_inside() -> None:
    picture = bars("rates", "jobs/s", [Bar("one", 100.0, 50.0, 400.0)])
    (spread,) = drawn(picture).iter(f"{SVG}polyline")
    ends = [float(point.split(",")[0]) for point in spread.get("points", "").split()]
    assert ends[0] < ends[1] <= 720


def test_lines_leave_out_what_is_not_known() -> None:
    picture = lines(
        "rates", "jobs/s", ["1", "2", "4"], [Line("a", [1.0, None, 2.0]), Line("b", [3.0] * 3)]
    )
    dots = list(drawn(picture).iter(f"{SVG}circle"))
    assert len(dots) == 5
    heights = [float(dot.get("cy", "0")) for dot in dots]
    assert heights[1] < heights[0]
    assert {"a", "b", "1", "2", "4"} <= set(words(picture))


def test_any_words_can_be_drawn() -> None:
    for picture in (bars('<"&', "x", [Bar("<b>&", 0.0)]), lines("&", "<", ["<"], [])):
        assert drawn(picture).get("aria-label") in ('<"&', "&")


def test_nothing_is_a_picture_too() -> None:
    assert words(bars("nothing", "x", []))[-1] == "x"
