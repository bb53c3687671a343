"""WCAG 2.2 AA as far as programs can judge it, and the page by keyboard, on a phone, and under its strict policy."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.integration]

PHONE = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}
NO_OVERFLOW = "() => document.documentElement.scrollWidth <= innerWidth"


def faults(page):
    """What axe-core finds, in short."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    found = axe.Axe().run(page, options=rules).response["violations"]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"])
def test_axe_finds_nothing(visiting, service, lesions, options):
    visit = visiting(service.url, **options, bypass_csp=True)  # axe-core is injected as an inline script
    page = visit.page
    assert faults(page) == []
    visit.upload(*lesions[:2], ("notes.jpg", b"no image"), ("empty.jpg", b""))
    page.locator(".card .open").nth(2).wait_for()
    page.wait_for_timeout(400)  # transitions of colours have an end
    assert faults(page) == []
    visit.open_first_answer()
    page.locator("dialog img, dialog .none").first.wait_for()
    assert faults(page) == []
    page.get_by_role("button", name="Erase this image").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.get_by_text("All predictions").click()
    page.locator(".card .open").first.wait_for(timeout=30_000)
    assert faults(page) == []


def test_axe_would_find_a_button_without_a_name(visiting, service):
    page = visiting(service.url, bypass_csp=True).page
    page.evaluate("() => document.querySelector('main').append(document.createElement('button'))")
    assert "button-name" in [rule for rule, _ in faults(page)]


def test_the_policy_is_strict_and_is_enforced(visit):
    headers = visit.page.request.get(visit.url).headers
    assert headers["cache-control"] == "no-cache"  # an old script must not meet a new service
    policy = headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["style-src"] == "'self'"
    assert directives["connect-src"] == "'self'"
    assert "unsafe" not in policy
    visit.page.evaluate("() => document.body.setAttribute('style', 'color: red')")
    visit.page.wait_for_timeout(100)
    (complaint,) = visit.complaints
    assert "Content Security Policy" in complaint
    visit.complaints.clear()


def test_the_page_works_where_no_string_may_become_html(visit, lesions):
    visit.upload(lesions[0])
    visit.wait_for_answers(1)
    visit.open_first_answer()
    with pytest.raises(Exception, match="TrustedHTML"):
        visit.page.evaluate("() => { document.createElement('p').innerHTML = '<b>' }")
    visit.complaints[:] = [text for text in visit.complaints if "TrustedHTML" not in text]


def test_everything_can_be_done_by_keyboard(visit, lesions):
    page = visit.page
    choosers = []

    def chosen(chooser):
        choosers.append(chooser)

    page.on("filechooser", chosen)  # early: Playwright does not wait until the browser knows of it
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to the images"
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "library"
    page.keyboard.press("Enter")
    for _ in range(50):
        page.wait_for_timeout(100)
        if choosers:
            break
    files = [{"name": name, "mimeType": "image/jpeg", "buffer": content} for name, content in lesions[:2]]
    choosers[0].set_files(files)
    visit.wait_for_answers(2)
    _tab_to(page, ".open")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert page.evaluate("() => document.activeElement.id") == "answer-title"
    dialog.get_by_role("slider").wait_for()
    _tab_to(page, "[type=range]")
    page.keyboard.press("ArrowRight")
    assert dialog.get_by_role("slider").input_value() == "51"
    title = dialog.locator("h2").text_content()
    _tab_to(page, "[aria-label='Next image']")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "answer-title"
    assert dialog.get_by_role("button", name="Previous image").is_enabled()
    assert title
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert page.evaluate("() => document.activeElement.className") == "open"
    # The view is a group of radio buttons: one stop, and arrows within.
    page.locator("[name=view]:checked").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Search").wait_for()


def _tab_to(page, selector, most=40):
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} cannot be reached by {most} presses of Tab")


def test_the_focus_is_seen(visit):
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Tab")
    style = visit.page.locator("label[for=library]").evaluate("(label) => getComputedStyle(label).outlineStyle")
    assert style == "solid"


def test_a_small_phone_shows_everything_in_its_width(visiting, service, lesions):
    visit = visiting(service.url, **PHONE)
    page = visit.page
    assert page.locator("label[for=camera]").is_visible()
    assert page.locator("#camera").get_attribute("capture") == "environment"
    assert page.locator("#library").get_attribute("capture") is None
    visit.upload(*lesions[:2], ("a_name_without_any_space_" * 8 + ".jpg", b"no image"))
    visit.wait_for_answers(3)
    assert page.evaluate(NO_OVERFLOW)
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    notice = page.locator("header .notice").bounding_box()
    assert 0 <= notice["y"] < 100  # it stays in sight
    dialog = visit.open_first_answer()
    dialog.locator("img, .none").first.wait_for()
    assert dialog.evaluate("(d) => d.scrollWidth <= d.clientWidth")
    assert dialog.locator(".notice").is_visible()


def test_a_desktop_without_a_touch_screen_has_no_camera_button(visit):
    assert not visit.page.locator("label[for=camera]").is_visible()


def test_targets_are_large_enough_to_hit(visiting, service, lesions):
    """WCAG 2.2, 2.5.8: 24 pixels."""
    visit = visiting(service.url, **PHONE)
    visit.upload(lesions[0])
    visit.wait_for_answers(1)
    visit.open_first_answer()
    boxes = [
        target.bounding_box() for target in visit.page.locator("button, label.button").all() if target.is_visible()
    ]
    assert len(boxes) >= 4
    assert min(min(box["width"], box["height"]) for box in boxes) >= 24


def test_nothing_moves_for_who_wants_no_motion(visiting, service, lesions):
    visit = visiting(service.url, reduced_motion="reduce")
    visit.page.route("**/v1/prediction?*", lambda route: route.fulfill(status=404, json={"code": "no_record"}))
    visit.upload(lesions[0])
    ring = visit.page.locator("[data-tone=stored] .ring i")
    ring.wait_for()
    assert ring.evaluate("(i) => getComputedStyle(i).animationName") == "none"


def test_a_screen_reader_hears_little_and_in_the_end_all(visit, lesions):
    news = visit.page.get_by_role("status")
    visit.page.evaluate(
        """() => { window.heard = [];
        new MutationObserver(() => window.heard.push(document.getElementById('news').textContent))
          .observe(document.getElementById('news'), { childList: true, characterData: true, subtree: true }); }"""
    )
    visit.upload(*lesions)
    visit.wait_for_answers(6)
    news.get_by_text("6 uploads, 6 answered.").wait_for(timeout=10_000)
    assert len(visit.page.evaluate("() => window.heard")) <= 4
