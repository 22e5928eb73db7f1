"""Pictures of checkpoints: made from the page, a slider over them, a patch compared with all others; the queue's timeline."""
import io
import json
import struct

import numpy as np
import pytest

from harness import wait_until

TYPES = {"F32": np.float32, "U8": np.uint8}


def grids_of(daemon, run, file):
    data = daemon.api("GET", f"/v1/runs/{run}/files/{file}").content
    size = struct.unpack("<Q", data[:8])[0]
    head = json.load(io.BytesIO(data[8:8 + size]))
    return {name: np.frombuffer(data[8 + size + about["data_offsets"][0]:8 + size + about["data_offsets"][1]], TYPES[about["dtype"]]).reshape(about["shape"])
            for name, about in head.items() if name != "__metadata__"}


@pytest.fixture
def pictured(page, scenes):
    """A run with two checkpoints whose pictures the page has made."""
    run = page.submit(scenes, "pictured", params={"epochs": 2, "checkpoint_every_epochs": 1, "labels": "none"})
    page.daemon.wait_for_state(run, "succeeded")
    page.provoked.append("willReadFrequently")  # the test reads pixels, the page does not
    page.go(f"#/{run}/visuals")
    page.wait_text("#tab-panel [data-verb=visualize]", "Make pictures of 2 checkpoints")
    page.click("[data-verb=visualize]")
    wait_until("both are there", lambda: page.js("return document.querySelector('#v-step')?.max") == "1" and page.count(".visual-row"))
    return run


PIXEL = """const c = document.querySelectorAll('.visual-row')[arguments[0]].querySelector(`[data-cell=${arguments[1]}] canvas`);
    return [c.width, ...c.getContext('2d', {willReadFrequently: true}).getImageData(arguments[2] % c.width, Math.floor(arguments[2] / c.width), 1, 1).data];"""


def test_the_slider_goes_over_checkpoints_and_a_click_compares_patches(page, pictured):
    made = page.daemon.api("GET", "/v1/runs?kind=visualize").json()["items"][0]["id"]
    shots = page.daemon.api("GET", f"/v1/runs/{made}/files/visualize.json").json()["checkpoints"]
    steps = [shot["step"] for shot in shots]
    assert page.js("return document.querySelector('.visual-rows').dataset.step") == str(steps[1])
    page.set("#v-step", "0")
    wait_until("the first checkpoint", lambda: page.js("return document.querySelector('.visual-rows').dataset.step") == str(steps[0]))
    page.wait_text("output", f"step {steps[0]}")

    grids = grids_of(page.daemon, made, shots[0]["grids"])
    assert page.count(".visual-row") == len(grids["images"])
    assert page.js(PIXEL, 1, "image", 5)[1:4] == grids["images"][1].reshape(-1, 3)[5].tolist()
    assert page.js(PIXEL, 1, "target", 7)[1:4] == grids["pca_rgb"][1][7].tolist()

    page.js("""const box = document.querySelectorAll('.pick-patch')[1], r = box.getBoundingClientRect();
        box.dispatchEvent(new MouseEvent('click', {bubbles: true, clientX: r.x + r.width * 0.99, clientY: r.y + 2}));""")
    assert page.js("return document.querySelectorAll('.visual-row')[1].dataset.patch") == "5"
    alike = [sum(page.js(PIXEL, 1, "cosine", k)[1:4]) for k in range(36)]
    cosines = grids["similarity_all"][1][5]
    assert np.argmax(alike) == 5 and np.corrcoef(alike, cosines)[0, 1] > 0.9
    for head, maps in ((-1, grids["attention"][1].mean(axis=0)), (1, grids["attention"][1][1])):
        page.set("label.inline select", str(head))
        shown = [sum(page.js(PIXEL, 1, "attention", k)[1:4]) for k in range(36)]
        assert shown[np.argmax(maps)] == max(shown) and np.corrcoef(shown, maps)[0, 1] > 0.9
    page.js("document.querySelectorAll('.pick-patch')[1].focus()")
    page.press("\ue012", "\ue015")
    assert page.js("return document.querySelectorAll('.visual-row')[1].dataset.patch") == str(5 - 1 + 6)


def test_the_timeline_shows_who_had_the_device_and_who_is_next(page, scenes):
    done = page.submit(scenes, "was-there", params={"epochs": 1})
    page.daemon.wait_for_state(done, "succeeded")
    run = page.submit(scenes, "is-there", params={"epochs": 100000})
    page.daemon.wait_for_state(run, "running")
    page.submit(scenes, "will-be-there")
    page.go("#/queue")
    page.wait_for(".time-bar.now")
    labels = page.js("return [...document.querySelectorAll('.time-bar')].map((e) => e.getAttribute('aria-label'))")
    assert any(label.startswith("was-there ran") for label in labels) and any(label.startswith("is-there runs") for label in labels)
    page.click("[aria-label=Timeline] .tool")
    page.wait_text("[aria-label=Timeline] tbody", "was-there")
    row = page.js("return [...document.querySelectorAll('[aria-label=Timeline] tbody tr')].map((r) => r.textContent).find((t) => t.includes('is-thereis running'))")
    assert row.startswith("Host slot 0")
