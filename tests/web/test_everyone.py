"""Every page for everyone: names, roles, contrast, focus order, 360 pixels to 4K; by own checks, and by axe-core where it is installed.

axe-core 4: the file in IJEPAD_AXE, or the one in the Python package axe-playwright-python.
"""
import importlib.util
import os
import pathlib

import pytest

from harness import wait_until

PAGES = ["#/", "#/runs", "#/queue", "#/gpus", "#/sweeps", "#/compare?runs={run}", "#/new", "#/new?sweep=random&kind=knn", "#/settings", "#/settings/tokens", "#/settings/webhooks",
         "#/settings/storage", "#/settings/audit", *(f"#/{{run}}/{tab}" for tab in ("charts", "health", "visuals", "logs", "checkpoints", "config", "events"))]


def axe_file():
    found = importlib.util.find_spec("axe_playwright_python")
    places = [os.environ.get("IJEPAD_AXE", ""), "/usr/share/nodejs/axe-core/axe.min.js",
              *(f"{folder}/axe.min.js" for folder in (found.submodule_search_locations if found else []))]
    return next((pathlib.Path(place) for place in places if place and os.path.isfile(place)), None)


CHECK = """
const lum = (c) => { const v = c.map((x) => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; }); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
const parse = (t) => (t.match(/[\\d.]+/g) || []).map(Number);
const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
const found = [], shown = (e) => e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length;
for (const e of document.querySelectorAll("body *")) {
  if (!shown(e) || e.closest("svg, [aria-hidden=true], .visually-hidden, .skip")) continue;
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (own && !e.disabled && !e.closest(":disabled")) {
    const a = lum(parse(getComputedStyle(e).color).slice(0, 3)), b = lum(behind(e)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${e.tagName}.${e.className} ${e.textContent.slice(0, 30)}`);
  }
  if (e.matches("a[href], button, input, select, summary, [role=tab]")) {
    const name = e.getAttribute("aria-label") || e.textContent.trim() || e.title || [...(e.labels || [])].map((l) => l.textContent).join("");
    if (!name) found.push(`no name: ${e.outerHTML.slice(0, 90)}`);
  }
  if (e.tabIndex > 0) found.push(`tabindex ${e.tabIndex}: ${e.outerHTML.slice(0, 90)}`);
  if (e.matches("[role=img], [role=meter], dialog, section[role], [role=group], nav") && !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby")) found.push(`no label: ${e.outerHTML.slice(0, 90)}`);
  if (e.tagName === "IMG" && !e.hasAttribute("alt")) found.push("no alt");
}
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`id twice: ${id}`);
for (const e of document.querySelectorAll("[aria-labelledby], [aria-describedby], [aria-controls]"))
  for (const a of ["aria-labelledby", "aria-describedby", "aria-controls"]) for (const id of (e.getAttribute(a) || "").split(" ").filter(Boolean))
    if (!document.getElementById(id)) found.push(`${a} to nowhere: ${id}`);
if (document.querySelectorAll("main h1").length !== 1) found.push(`${document.querySelectorAll("main h1").length} h1`);
return found;
"""


@pytest.fixture
def visited(page, scenes):
    """Goes to each page in turn, with a run to show."""
    run = page.submit(scenes, "a-name-that-is-rather-long-for-a-small-screen-0123456789", params={"epochs": 2})
    page.daemon.wait_for_state(run, "succeeded")
    page.provoked.append("status of 422")

    def visit():
        for address in visit.addresses:
            page.size(1300, 900)
            page.go("#/nowhere")
            page.wait_text("main h1", "There is no such page")
            page.go(address)
            wait_until(address, lambda: page.count("main h1") and "no such page" not in page.text("main h1"))
            yield address
    visit.addresses = [address.format(run=run) for address in PAGES]
    return visit


def test_every_page_is_accessible_light_and_dark_and_fits_360_pixels_to_4k(page, visited):
    wrong = []
    for address in visited():
        for scheme in ("light", "dark"):
            page.scheme(scheme)
            wrong += [f"{address} {scheme}: {one}" for one in page.js(CHECK)]
        for size in (360, 3840):
            page.size(size, 740, mobile=size < 500)
            width = page.js("return Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
            if width > size:
                wrong.append(f"{address} is {width} pixels wide in {size}")
    assert not wrong, "\n".join(wrong)


def test_axe_finds_nothing_serious(page, visited):
    axe = axe_file()
    if not axe:
        pytest.skip("axe-core is not installed: IJEPAD_AXE or axe-playwright-python")
    wrong = []
    page.js(axe.read_text() + "; window.axe = axe;")
    for address in visited():
        for scheme in ("light", "dark"):
            page.scheme(scheme)
            only = {} if scheme == "light" else {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
            found = page.driver.execute_async_script("axe.run(document, {resultTypes: ['violations'], ...arguments[0]}).then((r) => arguments[1](r.violations))", only)
            wrong += [f"{address} {scheme}: {one['id']} ({one['impact']}): {one['nodes'][0]['html'][:160]}" for one in found
                      if one["impact"] in ("serious", "critical")]
    assert not wrong, "\n".join(wrong)


SHIFTS = """window.shifts = []; new PerformanceObserver((list) => list.getEntries().forEach((e) => window.shifts.push([e.value,
    ...e.sources.map((s) => (s.node?.outerHTML || s.node?.textContent || "gone").slice(0, 120))]))).observe({type: "layout-shift", buffered: true});"""
SHIFT_MAX = 0.01  # of a page from nothing to all there; 0.1 is what is called good


def test_nothing_moves_while_a_page_comes(page, visited):
    wrong = []
    for address in visited.addresses:
        for width in (1300, 360):
            page.size(width, 900, mobile=width < 500)
            page.driver.get("about:blank")
            page.driver.get(page.daemon.url + "/" + address)
            page.js(SHIFTS)
            wait_until(f"{address} stands still", lambda: page.settled(500))
            shifts = page.js("return window.shifts")
            if sum(shift[0] for shift in shifts) > SHIFT_MAX:
                wrong.append(f"{address} at {width}: {shifts}")
    assert not wrong, "\n".join(wrong)


def test_tab_goes_through_a_page_in_the_order_of_reading(page, visited):
    for address in visited():
        if address not in ("#/", "#/runs", "#/new"):
            continue
        page.js("document.activeElement.blur(); window.scrollTo(0, 0)")
        seen = []
        for _ in range(12):
            page.press("\ue004")
            seen.append(page.js("const e = document.activeElement; return [...document.querySelectorAll('*')].indexOf(e)"))
        assert seen == sorted(seen) and len(set(seen)) == len(seen), f"{address}: {seen}"


def test_no_motion_where_none_is_wanted(page):
    page.scheme("light")
    moving = page.js("""return [...document.querySelectorAll('*')].filter((e) => { const s = getComputedStyle(e);
        return parseFloat(s.transitionDuration) > 0 || s.animationName !== 'none'; }).map((e) => e.outerHTML.slice(0, 80))""")
    assert moving == []


def test_names_and_logs_stay_text(page, scenes):
    evil = "<img src=x onerror=window.hit=1><script>window.hit=1</script>"
    run = page.submit(scenes, "plain", params={"epochs": 1}, notes=evil)
    page.daemon.wait_for_state(run, "succeeded")
    log = next((page.daemon.state).glob(f"**/{run}/**/*.log"), None) or next((page.daemon.state).glob(f"**/*{run[1:]}*.log"))
    log.write_text(evil + "\n\x1b[31mred\x1b[0m\n")
    page.go(f"#/{run}/logs")
    page.wait_text("pre.log", evil)
    assert page.count("#page img") == page.count("#page script") == 0
    assert page.js("return window.hit") is None
