#!/usr/bin/env python3
"""The dashboard in a real browser: size, first chart, hover and pan over 50,000 points, a table of 10,000 rows.

Prints JSON lines. Uses the programs in IJEPAD_BUILD (default build/); the database is filled by hand with 10,000 runs, and a stand-in
answers for the metrics of 50,000 steps, as training all that would take hours; everything else is the real daemon and page.
"""
import json
import os
import pathlib
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "web"), str(TESTS / "e2e")]
import requests  # noqa: E402

from conftest import browser  # noqa: E402
from harness import BUILD, Daemon, wait_until  # noqa: E402
from page import PARAMS, Page  # noqa: E402

STEPS, BUCKET, RUNS, FRAMES_EACH = 50_000, 64, 10_000, 120
FRAMES = """const done = arguments[arguments.length - 1], times = [], long = [];
const watch = new PerformanceObserver((list) => list.getEntries().forEach((e) => long.push(Math.round(e.duration))));
watch.observe({type: 'longtask'});
const act = %s;
let n = 0, before = performance.now();
const frame = (now) => {
  times.push(now - before); before = now;
  if (n++ < %d) { act(n); requestAnimationFrame(frame); } else setTimeout(() => { watch.disconnect(); done({times: times.slice(1), long}); }, 100);
};
requestAnimationFrame(frame);"""


def tell(what, **values):
    print(json.dumps({"bench": "dashboard", "what": what, **values}), flush=True)


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True).stdout.strip()
    return {"cpu": model, "cores": os.cpu_count(), "load_1m": round(os.getloadavg()[0], 1), "commit": commit,
            "browser": subprocess.run(["chromium", "--version"], capture_output=True, text=True).stdout.strip()}


def size(daemon):
    files = {}
    page = requests.get(daemon.url + "/").text
    names = ["", *(part.split('"')[0] for part in page.replace("href=\"/", "\x00").replace("src=\"/", "\x00").split("\x00")[1:])]
    for name in dict.fromkeys(name for name in names if not name.startswith("v1")):
        answer = requests.get(f"{daemon.url}/{name}", headers={"Accept-Encoding": "gzip"}, stream=True)
        files[name or "index.html"] = len(answer.raw.read(decode_content=False))
    tell("compressed size", bytes=sum(files.values()), files=files, budget_bytes=100 * 1024)


# What the server sends of a run of 50,000 steps: buckets of 64 steps, as the page asks for 700 points.
STAND_IN = """const ask = window.fetch, steps = %d, width = %d;
window.fetch = async (path, ...rest) => {
  if (!String(path).startsWith('/v1/metrics')) return ask(path, ...rest);
  const values = new URLSearchParams(String(path).split('?')[1]), step = [], last = [], min = [], max = [];
  for (let at = 0; at < steps; at += width) {
    const value = 1 / (1 + at / 500) + (at * 7919 %% 101) / 2000;
    step.push(at); last.push(value); min.push(value - .02); max.push(value + .02);
  }
  const series = values.get('keys').split(',').filter((key) => key.startsWith('train/')).map((key) => ({key: key.slice(6), count: steps, nonfinite: 0, min, max, mean: last, last}));
  return new Response(JSON.stringify({width, tables: [{run: values.get('runs'), stream: 'train', rows: step.length, step, series}]}));
};"""


def fill(state, run):
    """RUNS runs that wait for nothing, as the daemon would have kept them."""
    db = sqlite3.connect(state / "state.db")
    names = [row[1] for row in db.execute("PRAGMA table_info(run)") if row[1] != "id"]
    first = db.execute("SELECT max(id) FROM run").fetchone()[0]
    picked = ",".join("'many-'||n.value" if name == "name" else name for name in names)
    db.execute(f"WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM n WHERE value<?) INSERT INTO run(id,{','.join(names)}) "
               f"SELECT ?+n.value,{picked} FROM n, run WHERE run.id=?", (RUNS, first, run))
    db.commit()
    db.close()


def frames(page, what, act, count=FRAMES_EACH, **more):
    result = page.driver.execute_async_script(FRAMES % (act, count))
    times = sorted(result["times"])
    tell(what, frames_per_s=round(1000 / statistics.mean(times), 1), frame_ms_p50=round(times[len(times) // 2], 1), frame_ms_p95=round(times[int(len(times) * .95)], 1),
         long_tasks=len(result["long"]), longest_task_ms=max(result["long"], default=0), **more)


def first_chart(page, run):
    """From the start of loading the page to a painted curve, signed in, nothing cached."""
    took = []
    for _ in range(5):
        page.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
        page.driver.get("about:blank")
        page.driver.get(page.daemon.url + f"/#/{run}")
        took.append(page.driver.execute_async_script("""const done = arguments[0], look = () => {
            const plot = document.querySelector('.chart[data-key="train/loss"] .plot');
            if (plot?.dataset.points) requestAnimationFrame(() => done(performance.now())); else requestAnimationFrame(look); };
            look();"""))
    tell("first chart after load, nothing cached", ms_median=round(statistics.median(took)), ms=[round(one) for one in took], budget_ms=300)


HOVER = """(() => { const c = [...document.querySelectorAll('.chart[data-key="train/loss"] canvas')].pop(), r = c.getBoundingClientRect();
  return (n) => { const x = r.x + 80 + (n * 7 % (r.width - 100)); c.dispatchEvent(new MouseEvent('mousemove', {bubbles: true, clientX: x, clientY: r.y + 90, view: window})); }; })()"""
PAN = """(() => { const c = [...document.querySelectorAll('.chart[data-key="train/loss"] canvas')].pop(), r = c.getBoundingClientRect();
  const send = (type, x, shift) => c.dispatchEvent(new MouseEvent(type, {bubbles: true, cancelable: true, clientX: x, clientY: r.y + 90, shiftKey: shift, button: 0, view: window}));
  let down = false;
  return (n) => { if (!down) { send('mousedown', r.x + 200, true); down = true; } send('mousemove', r.x + 200 + 120 * Math.sin(n / 20), true); }; })()"""
SCROLL = "(n) => { document.querySelector('.virtual-box').scrollTop += 260; }"


def charts(page, run):
    """Hover and pan; each must have done something."""
    page.go("#/settings")
    page.wait_text("main h1", "Settings")
    page.js(STAND_IN % (STEPS, BUCKET))
    page.go(f"#/{run}")
    wait_until("the chart", lambda: page.chart("train/loss"))
    known, reading = {"points": STEPS, "drawn": page.chart("train/loss")[0], "charts": page.count(".chart")}, page.text(".chart[data-key='train/loss'] .readout")
    frames(page, "hover", HOVER, **known)
    assert page.text(".chart[data-key='train/loss'] .readout") != reading, "the cursor did not move"
    page.js("document.querySelector('.chart[data-key=\"train/loss\"] .plot').dispatchEvent(new KeyboardEvent('keydown', {key: '+', bubbles: true}))")
    wait_until("it is zoomed", lambda: not page.js("return document.querySelector('.toolbar button.plain').disabled"))
    wait_until("it stands still", lambda: page.settled(500))
    before = page.chart("train/loss")[1:]
    frames(page, "pan", PAN, **known)
    page.js("document.dispatchEvent(new MouseEvent('mouseup', {bubbles: true}))")
    wait_until("it is another range", lambda: page.chart("train/loss")[1:] != before)


def table(page):
    page.driver.refresh()
    page.go("#/runs")
    page.wait_text("main h1", "10,00")
    frames(page, "scroll of the table of runs", SCROLL, count=300, rows=RUNS)
    assert page.js("return document.querySelector('.virtual-box').scrollTop") > 52 * 200, "it did not scroll beyond the first page"


def measure(daemon, run):
    tell("machine", **machine())
    size(daemon)
    driver = browser()
    try:
        page = Page(driver, daemon)
        page.size(1300, 900)
        page.sign_in()
        first_chart(page, run)
        charts(page, run)
        table(page)
    finally:
        driver.quit()


def main():
    with tempfile.TemporaryDirectory(prefix="ijepad-bench-") as name:
        folder = pathlib.Path(name)
        scenes = folder / "scenes"
        subprocess.run([BUILD / "ijepad-worker", "scenes", scenes, "--count", "96", "--size", "48"], check=True, capture_output=True)
        daemon = Daemon(folder, slots=1).start()
        try:
            run = daemon.submit("pretrain", **{**PARAMS, "dataset": str(scenes), "epochs": 2})
            daemon.wait_for_state(run, "succeeded")
            daemon.stop()
            fill(daemon.state, int(run[1:]))
            daemon.start()
            measure(daemon, run)
        finally:
            daemon.stop()


if __name__ == "__main__":
    main()
