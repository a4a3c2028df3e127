"""The page as a reader meets it: a real headless Chromium, with no network."""

import re
import shutil
from itertools import pairwise

import pytest
from playwright.sync_api import expect

from experiments.config.run_folder import RunFolder
from experiments.report.report import write_report
from tests.browser import browser, find_browser

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(sampled, tmp_path_factory):
    """The page of a search of 60 trials."""
    copy = tmp_path_factory.mktemp("page") / "sampled"
    shutil.copytree(sampled.path, copy)
    return write_report(RunFolder.open(copy)).as_uri()


@pytest.fixture
def visit(chromium, report):
    """Open the page; what the browser complains of and asks for stands in .troubles, .asked."""
    contexts = []

    def go(**options):
        options = {
            "reduced_motion": "reduce",
            "viewport": {"width": 1100, "height": 900},
            **options,
        }
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.troubles, page.asked = [], []
        page.on("console", lambda message: page.troubles.append(message.text))
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(report)
        return page

    yield go
    for context in contexts:
        context.close()


def see(page, plot):
    """Scroll to a plot and wait until it is drawn."""
    found = page.locator(f"#plot-{plot}")
    found.scroll_into_view_if_needed()
    page.wait_for_selector(f"#plot-{plot} .main-svg")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_plot_is_drawn_without_a_complaint_and_without_a_network(visit, report, scheme):
    page = visit(color_scheme=scheme)
    plots = page.evaluate("[...document.querySelectorAll('.plot')].map((p) => p.dataset.chart)")
    assert len(plots) >= 6
    for plot in plots:
        see(page, plot)
    assert page.troubles == []
    assert [url for url in page.asked if not url.startswith("data:")] == [report]


def test_what_is_selected_on_the_plot_is_what_the_table_shows(visit):
    page = visit()
    plot = see(page, "flops_accuracy-0")
    box = plot.locator(".nsewdrag").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 3, middle, steps=8)
    page.mouse.up()
    page.locator("#count", has_text="selected on the plot").wait_for()
    limit = page.evaluate(
        "(p) => document.getElementById('plot-flops_accuracy-0')._fullLayout.yaxis.p2d(p)",
        box["height"] / 2,
    )
    accuracies = [float(t) for t in page.locator("#trials tbody td:nth-child(4)").all_inner_texts()]
    assert 0 < len(accuracies) < 60
    assert min(accuracies) >= limit - 1e-4
    page.get_by_role("button", name="Forget the selection").click()
    assert page.locator("#count").inner_text().startswith("60 of 60 trials;")


def test_the_table_is_sorted_and_filtered_by_keyboard_alone(visit):
    page = visit()
    page.get_by_label("State").focus()
    page.keyboard.type("pruned")
    assert page.locator("#count").inner_text().startswith("20 of 60 trials;")
    page.locator("#trials th button", has_text="accuracy").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    head = page.locator("#trials th", has_text="accuracy")
    assert head.get_attribute("aria-sort") == "ascending"
    shown = [float(t) for t in page.locator("#trials tbody td:nth-child(4)").all_inner_texts()]
    assert shown == sorted(shown)


def test_the_first_tab_offers_to_skip_to_the_report(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_screen_reader_is_told_what_each_picture_shows(visit):
    page = visit()
    unnamed = page.evaluate(
        "[...document.querySelectorAll('.plot, img, [role=region], nav, select, input, section')]"
        ".filter((e) => !(e.ariaLabel || e.alt || e.getAttribute('aria-labelledby') ||"
        " (e.labels && e.labels.length))).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert unnamed == []
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((h) => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_a_narrow_screen_scrolls_one_way(visit):
    page = visit(viewport={"width": 400, "height": 800})
    see(page, "effects-0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_print_shows_still_pictures_on_white(visit):
    page = visit(color_scheme="dark")
    see(page, "search_history-0")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#plot-search_history-0").is_hidden()
    for image in page.locator("img.static").all():
        assert image.is_visible()
        assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 900


def test_plots_follow_when_the_scheme_changes(visit):
    page = visit(color_scheme="light")
    see(page, "search_history-0")
    title = page.locator("#plot-search_history-0 .xtitle")
    expect(title).to_have_css("fill", re.compile(r"rgb\(\d\d, \d\d, \d\d\)"))
    page.emulate_media(color_scheme="dark")
    expect(title).to_have_css("fill", re.compile(r"rgb\(2\d\d, 2\d\d, 2\d\d\)"))


def test_without_scripts_the_still_pictures_are_there(visit):
    page = visit(java_script_enabled=False)
    images = page.locator("img.static").all()
    assert len(images) >= 5
    assert all(image.is_visible() for image in images)
    assert page.locator("#trials").is_hidden()
