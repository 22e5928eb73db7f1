#!/usr/bin/env python3
"""Draws the curves of a cifar10.py result: curves_svg.py RESULT.json OUT.svg"""
import json
import sys

WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 200, 52, 34, 70
COLOURS = ("#3b6ea8", "#c2571a", "#3f8f5b", "#7d4ea3")
PANELS = (("train", "loss", "loss (smooth L1)"), ("ssl", "probe/knn_top1", "k-NN top-1, held-out subset"),
          ("ssl", "ssl/rankme", "RankMe of pooled target features"))


def series(seed, stream, key):
    data = seed[stream]
    return [(s, v) for s, v in zip(data["step"], data.get(key, [])) if v is not None]


def panel(result, index, stream, key, title):
    lines = [(seed["seed"], series(seed, stream, key)) for seed in result["seeds"]]
    xs = [x for _, line in lines for x, _ in line]
    ys = [y for _, line in lines for _, y in line]
    x_max, y_min, y_max = max(xs), min(ys), max(ys)
    left = LEFT + index * (WIDTH + GAP)

    def place(x, y):
        return f"{left + WIDTH * x / x_max:.1f},{TOP + HEIGHT * (y_max - y) / (y_max - y_min):.1f}"
    out = [f'<text x="{left}" y="{TOP - 12}" font-weight="600">{title}</text>',
           f'<rect x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>']
    for i in range(5):
        y = y_min + (y_max - y_min) * i / 4
        at = TOP + HEIGHT * (4 - i) / 4
        out.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{y:.3g}</text>')
        out.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
    out.append(f'<text x="{left + WIDTH}" y="{TOP + HEIGHT + 16}" text-anchor="end">step {x_max}</text>')
    out.append(f'<text x="{left}" y="{TOP + HEIGHT + 16}">0</text>')
    for colour, (seed, line) in zip(COLOURS, lines):
        points = " ".join(place(x, y) for x, y in line)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4">'
                   f"<title>seed {seed}</title></polyline>")
    return out


def main(source, target):
    with open(source) as f:
        result = json.load(f)
    body = []
    for i, (stream, key, title) in enumerate(PANELS):
        body += panel(result, i, stream, key, title)
    for i, seed in enumerate(result["seeds"]):
        body.append(f'<text x="{LEFT + 80 * i}" y="{TOP + HEIGHT + 40}" fill="{COLOURS[i % 4]}">'
                    f'seed {seed["seed"]}</text>')
    width, height = LEFT + 3 * (WIDTH + GAP), TOP + HEIGHT + 54
    with open(target, "w") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>\n'
                + "\n".join(body) + "\n</svg>\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
