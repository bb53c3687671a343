"""What a person reads of an answer, and can do with it."""

from __future__ import annotations

import base64
import csv
import io
import json

import numpy as np
import pytest
from PIL import Image
from sample_images import jpeg

from handler.store.record import NOTICE
from model_layer.decoding import DecodingLimits, decode
from pictures.heat import overlay

pytestmark = [pytest.mark.browser, pytest.mark.integration]

SIDE = 512


def test_an_answer_says_what_the_record_holds(visit, lesions):
    visit.upload(lesions[0])
    visit.wait_for_answers(1)
    (record,) = visit.records()
    labels = {x["code"]: x["name"] for x in visit.page.request.get(f"{visit.url}/v1/model").json()["labels"]}
    dialog = visit.open_first_answer()
    said = dialog.text_content()
    assert NOTICE in said
    assert dialog.locator("h2").text_content().lower() == f"the model's label{record['label_name']}"
    assert f"{record['confidence']:.0%} confidence" in said
    assert record["model"]["version"] in said
    assert record["image"] in said
    for reason in record["reasons"]:
        assert reason["sentence"] in said
    for word in record["triage"], record["status"]:
        assert word in said.lower()
    rows = dialog.get_by_role("region", name="Probabilities").get_by_role("listitem").all_text_contents()
    ordered = sorted(record["probabilities"], key=record["probabilities"].get, reverse=True)
    assert [row.lower().startswith(labels[code]) for row, code in zip(rows, ordered, strict=True)] == [True] * len(
        labels
    )
    kept = dialog.get_by_role("region", name="Prediction set").text_content().lower()
    assert {code for code, name in labels.items() if name in kept} == set(record["prediction_set"])
    assert dialog.locator("time").first.get_attribute("datetime") == record["predicted_at"]


def test_the_heat_map_is_the_one_that_pictures_draws(visit, lesions):
    name, content = lesions[1]
    visit.upload((name, content))
    visit.wait_for_answers(1)
    (record,) = visit.records()
    dialog = visit.open_first_answer()
    canvas = dialog.locator("canvas")
    canvas.wait_for()
    png = base64.b64decode(canvas.evaluate("(c) => c.toDataURL()").partition(",")[2])
    drawn = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.int16)
    square = Image.fromarray(decode(content, SIDE, DecodingLimits()).pixels)
    expected = np.asarray(overlay(square, record["heatmap"]), dtype=np.int16)
    # The browser resizes and recompresses the photograph by its own means; the colours of the evidence are the same.
    assert np.abs(drawn - expected).mean() < 3


def test_the_slider_moves_the_heat_map_over_the_image(visit, lesions):
    visit.upload(lesions[0])
    visit.wait_for_answers(1)
    dialog = visit.open_first_answer()
    slider = dialog.get_by_role("slider")
    slider.focus()
    visit.page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "100 percent covered by the heat map"
    assert "0px 0px 0px 0%" in dialog.locator("canvas").evaluate("(c) => getComputedStyle(c).clipPath")
    visit.page.keyboard.press("End")
    visit.page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "1 percent covered by the heat map"


def test_uploads_are_found_again_after_a_reload_by_their_keys(visit, lesions):
    visit.upload(*lesions[:2], ("Jane Doe.jpg", b"no image"))
    visit.wait_for_answers(3)
    before = sorted(visit.page.locator(".card h3").all_text_contents())
    kept = visit.page.evaluate("() => JSON.stringify({...localStorage})")
    assert "Jane" not in kept
    assert "lesion" not in kept
    assert all(record["object"]["key"].startswith("uploads/") for record in visit.records())
    visit.open()
    visit.wait_for_answers(3)
    assert sorted(visit.page.locator(".card h3").all_text_contents()) == before
    assert "Upload of" in visit.page.locator(".name").first.text_content()
    visit.page.locator(".card img").first.wait_for()  # now from the service


@pytest.mark.slow
def test_a_failure_gives_way_to_a_later_answer(visit, lesions):
    failures = iter([1])

    def fail_once(route):
        answer = route.fetch()
        if answer.status == 200 and next(failures, None):
            history = answer.json()
            history["records"][0] |= {"status": "failed", "label": None, "probabilities": None, "prediction_set": None}
            history["records"][0] |= {"triage": None, "heatmap": None, "predicted_at": "2026-01-01T00:00:00.000Z"}
            return route.fulfill(response=answer, json=history)
        return route.fulfill(response=answer)

    visit.page.route("**/v1/prediction?*", fail_once)
    visit.upload(lesions[0])
    visit.page.locator(".card[data-tone=failed] .open").wait_for()
    visit.page.locator(".card:is([data-tone=classified], [data-tone=referred]) canvas").wait_for(timeout=20_000)


def test_a_request_that_is_never_answered_is_given_up_and_made_again(visit):
    unanswered = iter([1])
    visit.page.clock.install()
    visit.page.route("**/v1/model", lambda route: None if next(unanswered, None) else route.continue_())
    with visit.page.expect_request("**/v1/model"):
        visit.page.goto(visit.url)
    assert visit.page.locator("html[data-ready]").count() == 0
    visit.page.clock.fast_forward(60_000)
    visit.page.wait_for_selector("html[data-ready]")
    assert "labels" in visit.page.locator("#model").text_content()


def test_what_is_erased_is_gone_from_everywhere(visit, lesions):
    visit.upload(*lesions[:2])
    visit.wait_for_answers(2)
    before = set(visit.keys())
    dialog = visit.open_first_answer()
    dialog.get_by_role("button", name="Erase this image").click()
    dialog.get_by_role("button", name="Keep it").click()
    assert len(visit.records()) == 2
    dialog.get_by_role("button", name="Erase this image").click()
    dialog.get_by_role("button", name="Erase for good").click()
    dialog.wait_for(state="hidden")
    assert visit.page.locator(".card").count() == 1
    (gone,) = before - set(visit.keys())
    answer = visit.page.request.get(f"{visit.url}/v1/prediction", params={"image": gone})
    assert answer.status == 404
    assert "was erased" in visit.page.get_by_role("status").text_content()
    assert visit.page.evaluate("() => document.activeElement.className") == "open"  # the image that is left


def test_downloads_hold_the_records_and_no_formula(visit, lesions):
    visit.upload(("=HYPERLINK(1).jpg", lesions[0][1]), ("plain.jpg", b"no image"))
    visit.wait_for_answers(2)
    records = sorted(visit.records(), key=lambda record: record["image"])
    rows = list(csv.DictReader(io.StringIO(_download(visit, "Download CSV").decode("utf-8-sig"))))
    assert sorted(row["file"] for row in rows) == ["'=HYPERLINK(1).jpg", "plain.jpg"]
    by_image = {row["image"]: row for row in rows}
    for record in records:
        row = by_image[record["image"]]
        assert (row["status"], row["label"], row["notice"]) == (record["status"], record["label"] or "", NOTICE)
        assert float(row["confidence"] or 0) == (record["confidence"] or 0)
    given = json.loads(_download(visit, "Download JSON"))
    assert sorted(given, key=lambda record: record["image"]) == records


def _download(visit, name):
    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name=name).click()
    return waiting.value.path().read_bytes()


def test_counts_show_only_their_images(visit, lesions):
    visit.upload(*lesions[:2], ("notes.jpg", b"no image"))
    visit.wait_for_answers(3)
    rejected = visit.page.get_by_role("group", name="Show only").get_by_role("button", name="1 rejected")
    rejected.click()
    assert rejected.get_attribute("aria-pressed") == "true"
    assert visit.page.locator(".card:visible").count() == 1
    rejected.click()
    assert visit.page.locator(".card:visible").count() == 3


def test_a_search_asks_the_indexes(visit):
    visit.upload(*((f"{k}.jpg", jpeg(900 + k)) for k in range(3)), ("x.jpg", b"no image"))
    visit.wait_for_answers(4)
    own = {record["image"] for record in visit.records() if record["status"] == "rejected"}
    visit.page.get_by_text("All predictions").click()
    visit.page.locator(".card .open").first.wait_for(timeout=30_000)
    visit.page.get_by_label("Status").select_option("rejected")
    visit.page.get_by_role("button", name="Search").click()
    visit.page.locator(".card .open", has_text="Not an image").first.wait_for(timeout=30_000)
    assert set(visit.page.locator(".card .pill").all_text_contents()) == {"rejected"}
    dialog = visit.open_first_answer()  # the latest comes first, and its record is fetched whole
    assert dialog.locator(".meta code").text_content() in own
    shown = []
    following = dialog.get_by_role("button", name="Next image")
    while following.is_enabled() and len(shown) < 60:
        shown.append(dialog.locator(".meta code").text_content())
        following.click()
        dialog.locator(".meta code", has_not_text=shown[-1]).wait_for()
    assert own <= {*shown, dialog.locator(".meta code").text_content()}
    visit.page.keyboard.press("Escape")
    visit.page.get_by_text("Your uploads").click()
    visit.wait_for_answers(4)
