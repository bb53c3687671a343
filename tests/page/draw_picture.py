"""`PYTHONPATH=. python tests/page/draw_picture.py docs/page.jpg`: the picture of the page, with rendered lesions.

On the left a desktop's list, over it a phone with one answer. Needs what the browser tests need.
"""

from __future__ import annotations

import io
import sys

from page_service import CHROMIUM, running
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import sync_playwright

from demo.lesions import demo_images

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 760}
PHONE_AT = (1000, 100)
GROUND = (226, 222, 214)
MARGIN = 40
RADIUS = 28


def main() -> None:
    files = [{"name": name, "mimeType": "", "buffer": content} for name, content in demo_images(0, 24)]
    with running() as service, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shots = []
        for options in {"viewport": DESKTOP}, {"viewport": PHONE, "has_touch": True, "is_mobile": True}:
            page = chromium.new_page(**options)
            page.goto(service.url)
            page.wait_for_selector("html[data-ready]")
            page.set_input_files("#library", files)
            page.wait_for_selector(".card:nth-child(24)", state="attached")
            page.locator(".card:not(:has(.open))").first.wait_for(state="detached", timeout=60_000)
            if options["viewport"] is PHONE:
                page.locator("[aria-label*='dermoscopy-05']").click()
                page.locator("dialog canvas").wait_for()
            page.wait_for_timeout(2000)
            shots.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        chromium.close()
    picture = Image.new("RGB", (DESKTOP["width"] + 160, DESKTOP["height"] + 2 * MARGIN), GROUND)
    _paste(picture, shots[0], (MARGIN, MARGIN), 14)
    _paste(picture, shots[1], PHONE_AT, RADIUS)
    picture.save(sys.argv[1], quality=84, optimize=True)


def _paste(picture: Image.Image, shot: Image.Image, at: tuple[int, int], radius: int) -> None:
    shape = Image.new("L", picture.size)
    box = (*at, at[0] + shot.width - 1, at[1] + shot.height - 1)
    ImageDraw.Draw(shape).rounded_rectangle(box, radius, fill=255)
    shadow = shape.filter(ImageFilter.GaussianBlur(18)).point(lambda value: value * 0.28)
    picture.paste((60, 52, 44), (0, 10), shadow)
    whole = picture.copy()
    whole.paste(shot, at)
    picture.paste(whole, (0, 0), shape)


if __name__ == "__main__":
    main()
