"""Images on their way: every way in, the states that a card goes through, and what gets in the way."""

from __future__ import annotations

import base64
import re

import pytest
from page_service import running
from sample_images import encoded, jpeg, picture

from model_layer.answers import RejectionCode

pytestmark = [pytest.mark.browser, pytest.mark.integration]

RECORD_STATES = """() => {
  window.seen = {}; window.most = 0;
  new MutationObserver(() => {
    for (const card of document.querySelectorAll('.card')) {
      const name = card.querySelector('.name').textContent;
      const state = card.querySelector('.pill:last-child').textContent;
      const states = window.seen[name] ??= [];
      if (states.at(-1) !== state) states.push(state);
    }
    window.most = Math.max(window.most, document.querySelectorAll('.card[data-tone=uploading]').length);
  }).observe(document.getElementById('cards'), { childList: true, subtree: true, attributes: true });
}"""


def dropped(page, files):
    """A drop on the window of files that a page holds."""
    given = [[name, base64.b64encode(content).decode()] for name, content in files]
    transfer = page.evaluate_handle(
        """(files) => {
          const transfer = new DataTransfer();
          for (const [name, text] of files) {
            transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
          }
          return transfer;
        }""",
        given,
    )
    page.dispatch_event("#images", "drop", {"dataTransfer": transfer})


def test_dropped_images_are_answered(visit, lesions):
    dropped(visit.page, lesions[:2])
    visit.wait_for_answers(2)
    assert {record["status"] for record in visit.records()} <= {"classified", "referred"}
    assert sorted(visit.page.locator(".name").all_text_contents()) == ["lesion 0.jpg", "lesion 1.jpg"]


def test_a_dropped_folder_gives_all_its_files(visit, lesions, tmp_path):
    (tmp_path / "visit" / "left arm").mkdir(parents=True)
    (tmp_path / "visit" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "visit" / "one.jpg").write_bytes(lesions[0][1])
    (tmp_path / "visit" / "left arm" / "two.jpg").write_bytes(lesions[1][1])
    browser = visit.page.context.new_cdp_session(visit.page)
    data = {"items": [], "files": [str(tmp_path / "visit")], "dragOperationsMask": 1}
    for step in "dragEnter", "dragOver":
        browser.send("Input.dispatchDragEvent", {"type": step, "x": 300, "y": 200, "data": data})
    visit.page.locator("#add.hot").wait_for()
    browser.send("Input.dispatchDragEvent", {"type": "drop", "x": 300, "y": 200, "data": data})
    visit.wait_for_answers(2)
    assert sorted(visit.page.locator(".name").all_text_contents()) == ["one.jpg", "two.jpg"]
    assert visit.page.locator("#add.hot").count() == 0


def test_every_card_moves_through_its_states_three_uploads_at_a_time(visit, lesions):
    visit.page.evaluate(RECORD_STATES)
    visit.upload(*lesions)
    visit.wait_for_answers(6)
    seen = visit.page.evaluate("() => window.seen")
    assert set(seen) == {name for name, _ in lesions}
    for states in seen.values():
        assert states[-1] in {"classified", "referred"}
        assert [state for state in states[:-1] if state != "waiting"] == ["uploading", "safe to close"]
    assert seen["lesion 5.jpg"][0] == "waiting"
    assert visit.page.evaluate("() => window.most") == 3


def test_progress_is_shown_and_leaving_is_warned_of_until_it_is_safe(visit, lesions):
    page = visit.page
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 150_000}
    network.send("Network.emulateNetworkConditions", slow)
    visit.upload(("large.bmp", encoded(picture(1, (500, 400)), "BMP")))  # 600 kB: four seconds
    page.get_by_text("Keep this page open: 1 image is").wait_for()
    page.locator(".number", has_text=re.compile(r"^[1-9]\d%$")).wait_for()

    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)
    page.get_by_text("Safe to close this page.").wait_for()
    assert asked == ["beforeunload"]
    visit.wait_for_answers(1)

    page.close(run_before_unload=True)
    assert page.is_closed() or page.wait_for_event("close")
    assert asked == ["beforeunload"]


def test_a_file_that_is_no_photograph_is_rejected_with_advice(visit):
    visit.upload(("notes.jpg", b"Dear doctor"))
    visit.wait_for_answers(1)
    card = visit.page.locator(".card")
    assert card.locator("h3").text_content() == "Not an image"
    assert RejectionCode.NOT_AN_IMAGE.sentence in card.text_content()
    dialog = visit.open_first_answer()
    assert "This image cannot be classified." in dialog.text_content()
    assert RejectionCode.NOT_AN_IMAGE.sentence in dialog.text_content()


def test_an_empty_file_and_one_over_the_limit_are_not_sent(visit):
    page = visit.page
    page.route("**/v1/uploads", lambda route: _with_limit(route, 2_000_000))
    visit.upload(("empty.jpg", b""), ("huge.jpg", bytes(2_100_000)))
    page.get_by_text("The file is empty.").wait_for()
    page.get_by_text("The file is larger than 1 MB.").wait_for()
    assert page.get_by_role("button", name="Try again: huge.jpg").is_visible()
    page.get_by_role("button", name="Remove from the list: huge.jpg").click()
    assert page.locator(".card").count() == 1


def _with_limit(route, most):
    answer = route.fetch()
    route.fulfill(response=answer, json=answer.json() | {"max_bytes": most})


def test_uploads_go_on_when_the_service_is_back(visit, service, lesions):
    service.offline()
    try:
        visit.upload(lesions[0])
        visit.page.get_by_role("alert").get_by_text("The service does not answer.").wait_for()
        assert "Keep this page open" in visit.page.locator("#safety").text_content()
    finally:
        service.online()
    visit.wait_for_answers(1)
    assert visit.page.locator("#warning").text_content() == ""
    # 503 is how the service says that it is still loading the model.
    passing = ("ERR_CONNECTION", "status of 503")
    visit.complaints[:] = [text for text in visit.complaints if not any(sign in text for sign in passing)]


def test_what_the_service_cannot_do_now_is_tried_again(visit, lesions):
    refusals = iter([503, 500, 429])

    def refuse(route):
        status = next(refusals, None)
        problem = {"status": status, "code": "busy", "detail": "Later."}
        route.fulfill(status=status, json=problem, headers={"Retry-After": "1"}) if status else route.fallback()

    visit.page.route("**/v1/uploads/relay", refuse)
    visit.upload(lesions[0])
    visit.wait_for_answers(1)
    assert next(refusals, None) is None
    visit.complaints[:] = [text for text in visit.complaints if "the server responded with a status of" not in text]


def test_a_browser_that_cannot_show_heic_gets_a_preview(visit, lesions):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    previews = []
    visit.page.on("request", lambda request: previews.append(request.url) if "/v1/preview" in request.url else None)
    visit.upload(("photograph.heic", encoded(picture(2, (640, 480)), "HEIF")))
    visit.wait_for_answers(1)
    shown = visit.page.locator(".card img")
    shown.wait_for()
    assert shown.evaluate("(image) => image.naturalWidth") == 256
    assert len(previews) == 1
    visit.upload(lesions[0])
    visit.wait_for_answers(2)
    visit.page.locator(".card img").nth(1).wait_for()
    assert len(previews) == 1  # the browser reads a JPEG by itself


@pytest.mark.slow  # a stack of its own
def test_uploads_may_go_straight_to_the_bucket(visiting, lesions):
    with running("--direct") as service:
        visit = visiting(service.url)
        posts = []
        visit.page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
        visit.upload(lesions[0])
        visit.wait_for_answers(1)
        (to_bucket,) = [url for url in posts if not url.startswith(service.url)]
        assert to_bucket.startswith("http://127.0.0.1")


@pytest.mark.slow  # a stack of its own
def test_without_a_store_the_service_answers_at_once(visiting, lesions):
    with running("--classify-only") as service:
        visit = visiting(service.url)
        visit.upload(lesions[0], ("notes.jpg", b"Dear doctor"))
        visit.wait_for_answers(2)
        assert visit.page.locator(".card", has_text="notes.jpg").locator("h3").text_content() == "Not an image"
        dialog = visit.open_first_answer()
        dialog.get_by_text("The model's label").wait_for()
        assert dialog.get_by_role("button", name="Erase this image").count() == 0
        visit.complaints[:] = [text for text in visit.complaints if "status of 501" not in text and "422" not in text]


@pytest.mark.slow  # a stack of its own
def test_the_printed_address_lets_a_browser_in_and_no_other(visiting, lesions):
    with running("--with-key") as service:
        stranger = visiting(service.url)
        stranger.page.get_by_role("alert").get_by_text("Open the address that was printed").wait_for()
        stranger.complaints[:] = [text for text in stranger.complaints if "status of 401" not in text]
        visit = visiting(f"{service.url}/?token=only-once")
        assert visit.page.url == f"{service.url}/"
        visit.upload(lesions[0])
        visit.wait_for_answers(1)


@pytest.mark.slow
def test_two_hundred_images_at_once(visit):
    visit.page.evaluate(RECORD_STATES)
    visit.upload(*((f"{k}.jpg", jpeg(k)) for k in range(200)))
    visit.wait_for_answers(200, seconds=110)
    assert visit.page.evaluate("() => window.most") == 3
    assert len(set(visit.keys())) == 200
    # Only what is near the view has a picture, and none is larger than a thumbnail.
    visit.page.wait_for_timeout(500)
    sides = visit.page.locator(".card img").evaluate_all("(images) => images.map((image) => image.naturalWidth)")
    assert 4 <= len(sides) <= 40
    assert max(sides) <= 512
    visit.page.locator(".card").last.scroll_into_view_if_needed()
    visit.page.locator(".card").last.locator("img").wait_for()
    assert visit.page.locator(".card").first.locator("img").count() == 0
