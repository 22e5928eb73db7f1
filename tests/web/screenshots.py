#!/usr/bin/env python3
"""Pictures of the dashboard for docs/screenshots: screenshots.py URL TOKEN FOLDER NAME=ADDRESS...

Each address is taken light and dark at 1440 by 900 and narrow at 360 by 740; a name with a trailing + also at 3840 by 2160.
The server and its runs are whatever answers at URL. Large pictures are reduced to 256 colours where Pillow is installed.
"""
import pathlib
import sys
import types

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parent.parent / "e2e")]
from conftest import browser  # noqa: E402
from page import Page  # noqa: E402

SMALL, EXACT = 64 * 1024, 176  # bytes; colours that stay as they are
LOOKS = {"light": ("light", 1440, 900, False), "dark": ("dark", 1440, 900, False), "narrow": ("light", 360, 740, True), "wide": ("light", 3840, 2160, False)}


def take(driver, file):
    driver.save_screenshot(str(file))
    try:
        from PIL import Image
    except ImportError:
        return
    if file.stat().st_size < SMALL:
        return
    image = Image.open(file).convert("RGB")
    common = [colour for _, colour in sorted(image.getcolors(1 << 24), reverse=True)[:EXACT]]
    others = image.quantize(256 - EXACT, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette()[:3 * (256 - EXACT)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in common for part in colour] + others)
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(file, optimize=True)


def main(url, token, folder, *pages):
    from harness import wait_until
    driver = browser()
    page = Page(driver, types.SimpleNamespace(url=url, token=token))
    page.size(1440, 900)
    page.sign_in()
    for one in pages:
        name, address = one.split("=", 1)
        for look, (scheme, width, height, mobile) in LOOKS.items():
            if look == "wide" and not name.endswith("+"):
                continue
            page.size(width, height, mobile)
            page.scheme(scheme)
            page.go("#/nowhere")
            page.wait_text("main h1", "There is no such page")
            page.go(address)
            wait_until(address, lambda: "no such page" not in page.text("main h1"))
            wait_until(f"{name} stands still", lambda: page.settled(), every_s=0.2)
            take(driver, pathlib.Path(folder) / f"{look}-{name.rstrip('+')}.png")
    driver.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
