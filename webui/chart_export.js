/* A chart's values and looks outside the page: table, CSV, PNG. */
import {getText, query} from "./api.js";
import {resolved} from "./colours.js";
import {download, make, simpleTable, toast} from "./dom.js";
import {number} from "./format.js";
import {titleOf} from "./metrics.js";

const ROWS_MAX = 400;

const fileName = (chart, ending) => `${chart.series.map((one) => one.id).join("-")}_${chart.key.replaceAll("/", "-")}.${ending}`;

export function chartTable(chart) {
  const window = chart.group.window;
  const rows = chart.series.flatMap((one) => one.x.map((x, i) => ({x, i, one})))
    .filter(({x}) => !window || (x >= window[0] && x <= window[1])).slice(-ROWS_MAX);
  return make("div", {}, simpleTable([...(chart.series.length > 1 ? ["Run"] : []), [chart.group.xTitle(), "number"], ["Last", "number"],
    ["Min", "number"], ["Max", "number"]], rows.map(({x, i, one}) => [...(chart.series.length > 1 ? [one.name] : []),
    chart.group.xText(x), number(one.last[i], 6), number(one.min[i], 6), number(one.max[i], 6)]), titleOf(chart.key)));
}

export async function saveCsv(chart) {
  const runs = chart.series.map((one) => one.id).join(",");
  try {
    const text = await getText("/v1/metrics" + query({runs, keys: chart.key, agg: "none"}), "text/csv");
    download(fileName(chart, "csv"), text, "text/csv");
  } catch (error) {
    toast(error.message);
  }
}

/* dygraphs keeps its labels in elements: they are painted where they stand. */
export function savePng(chart) {
  const scale = 2, head = 34, {width, height} = chart.plot.getBoundingClientRect(), origin = chart.plot.getBoundingClientRect();
  const canvas = make("canvas", {width: width * scale, height: (height + head) * scale});
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.fillStyle = resolved("--card");
  pen.fillRect(0, 0, width, height + head);
  pen.fillStyle = resolved("--text");
  pen.font = "600 14px system-ui, sans-serif";
  pen.fillText(`${titleOf(chart.key)} – ${chart.series.map((one) => `${one.name} (${one.id})`).join(", ")}`, 10, 21, width - 20);
  for (const layer of chart.plot.querySelectorAll("canvas")) pen.drawImage(layer, 0, head, width, height);
  pen.fillStyle = resolved("--quiet");
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  pen.textAlign = "center";
  for (const label of chart.plot.querySelectorAll(".dygraph-axis-label")) {
    const box = label.getBoundingClientRect();
    if (box.width) pen.fillText(label.textContent, box.x - origin.x + box.width / 2, box.y - origin.y + box.height / 2 + head);
  }
  canvas.toBlob((blob) => download(fileName(chart, "png"), blob));
}
