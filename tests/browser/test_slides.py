"""`course.py slides`: no slide is larger than its frame, looked at slide by slide in a browser."""

import json

import pytest
import slides

from tests.browser import browser

FIRST = ["00_start_here", "03_federated_averaging"]
NAMES = [path.stem for path in slides.lessons()]
FRAME, LOWEST = (1280, 720), 330  # px; a picture is at least so high
# Without reveal.js, which is not at hand here, all slides lie below each other; formulas stand as they are written.
BELOW = (
    ".reveal .slides section section { display: flex; flex-direction: column; position: relative; overflow: clip; }"
    "aside { display: none; } body { margin: 0; }"
)
MEASURE = """(shown) => shown.map(slide => {
    const frame = slide.getBoundingClientRect(), edge = {title: slide.querySelector("h1, h2").textContent};
    const parts = [...slide.querySelectorAll(".part, .part *")].filter(p => !p.closest("mjx-assistive-mml"));
    const boxes = parts.map(part => part.getBoundingClientRect()), picture = slide.querySelector(".picture img");
    edge.low = Math.max(...boxes.map(box => box.bottom)) - frame.top;
    edge.right = Math.max(...boxes.map(box => box.right)) - frame.left;
    edge.picture = picture ? picture.getBoundingClientRect().height : null;
    return edge;
})"""
ALL = f"() => ({MEASURE})([...document.querySelectorAll('.slides section section')])"
CURRENT = f"() => ({MEASURE})([Reveal.getCurrentSlide()])"


def too_large(edges, lowest=LOWEST):
    """A sentence for each slide on which something leaves the frame, or a picture is small."""
    wide, high = FRAME
    return [
        json.dumps(edge)
        for edge in edges
        if edge["low"] > high or edge["right"] > wide or edge["picture"] is not None and edge["picture"] < lowest
    ]


def looked_at(chromium, folder, name):
    with browser.new_page(chromium, *FRAME) as page:
        page.goto((folder / f"{name}.html").as_uri())
        page.wait_for_function("[...document.images].every(image => image.complete)")
        return page.evaluate(ALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    style = (slides.TEMPLATES / "slides" / "slides.css").read_text(encoding="utf-8")
    for name in FIRST:
        _, page = slides.page(slides.course.ROOT / "notebooks" / f"{name}.ipynb")
        page = page.partition('<script src="reveal/dist')[0].replace(
            '<script defer src="mathjax/tex-chtml-full.js">', ""
        )
        (folder / f"{name}.html").write_text(f"{page}<style>{style}{BELOW}</style>", encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", FIRST)
def test_no_slide_overflows_its_frame(chromium, folder, name):
    edges = looked_at(chromium, folder, name)
    assert len(edges) > 15 and too_large(edges) == []


def test_a_slide_that_overflows_is_found(chromium, folder):
    page = (folder / f"{FIRST[0]}.html").read_text(encoding="utf-8")
    (folder / "large.html").write_text(page + "<style>.reveal li { margin-bottom: 90px; }</style>", encoding="utf-8")
    (folder / "wide.html").write_text(page + "<style>.reveal pre { width: 1250px; }</style>", encoding="utf-8")
    (folder / "small.html").write_text(page + "<style>.picture { max-height: 90px; }</style>", encoding="utf-8")
    for name in ("large", "wide", "small"):
        assert too_large(looked_at(chromium, folder, name)), name


def test_made_in_the_book_environment_all_slides_fit_and_ask_no_network(chromium, tmp_path):
    """Only with --all: the environment takes minutes the first time."""
    assert slides.make(tmp_path / "out") == []
    for name in NAMES:
        with browser.new_page(chromium, *FRAME) as page:
            asked = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto((tmp_path / "out" / f"{name}.html").as_uri())
            page.wait_for_function("window.Reveal && Reveal.isReady() && window.MathJax?.startup?.promise")
            page.evaluate("() => MathJax.startup.promise.then(() => document.fonts.ready).then(() => true)")
            edges = []
            for _ in range(page.evaluate("Reveal.getTotalSlides()")):
                edges += page.evaluate(CURRENT)
                page.evaluate("Reveal.next()")
            assert too_large(edges, lowest=300) == [] and len(edges) > 15, name
            assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
