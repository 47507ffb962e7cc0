// What MeasureCloak shows after a run: the measures, and what is left after each countermeasure.

import { el, guard } from "./dom.mjs";
import { createMeasures } from "./measures.mjs";
import { createVerdict } from "./verdict.mjs";
import { say } from "./words.mjs";

const percent = (part) => `${Math.max(0, Math.min(100, 100 * part))}%`;

/** The measures that no cloak is optimised for, those that there are: [name, explanation, value]. */
function qualityRows(quality) {
  return [
    ["SSIMULACRA2", say("measure.ssimulacra.tip"), quality?.ssimulacra2, 0],
    ["FLIP", say("measure.flip.tip"), quality?.flip, 3],
    [say("measure.flat"), say("measure.flat.tip"), quality?.flat_delta_e, 2],
  ].filter(([, , value]) => value !== null && value !== undefined);
}

function qualityTable(quality) {
  const rows = qualityRows(quality);
  if (!rows.length) return el("p", { class: "glaze-faint" }, say("measure.quality.missing"));
  return el(
    "table",
    { "aria-label": say("measure.quality") },
    el(
      "tbody",
      {},
      ...rows.map(([name, tip, value, count]) =>
        el("tr", { title: tip }, el("th", { scope: "row" }, name), el("td", {}, el("b", {}, value.toFixed(count)))),
      ),
    ),
  );
}

/** Worst first: the shift that is left, its part of the whole, and a bar. */
function leftTable(rows) {
  return el(
    "table",
    { "aria-label": say("measure.left.label"), class: "glaze-left glaze-warm" },
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { scope: "col" }, say("measure.after")),
        el("th", { scope: "col", title: say("measure.left.tip") }, say("measure.left")),
        el("th", { scope: "col", title: say("measure.kept.tip") }, say("measure.kept")),
      ),
    ),
    el(
      "tbody",
      {},
      ...rows.map((row) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, row.words),
          el(
            "td",
            {},
            el("b", {}, row.shift.toFixed(2)),
            el("span", { class: "glaze-bar", "aria-hidden": "true" }, el("i", { style: `width:${percent(row.shift)}` })),
          ),
          el("td", {}, `${Math.round(100 * row.retention)}%`),
        ),
      ),
    ),
  );
}

function block(report, number, total) {
  return el(
    "div",
    { class: "glaze-measures" },
    total > 1 ? el("p", {}, el("b", {}, say("measure.page", { n: number, total }))) : null,
    createVerdict(report),
    createMeasures(report),
    qualityTable(report.quality),
    report.countermeasures.length ? leftTable(report.countermeasures) : null,
  );
}

/** The measured pictures of one run, one below the other. */
export function createMeasured() {
  const idle = el("p", { class: "glaze-message" }, say("measure.idle"));
  const list = el("div", { class: "glaze-scrolls glaze-measured-list", tabindex: "0", hidden: true });
  const element = guard(
    el("section", { class: "glaze glaze-measured", "aria-label": say("measure.label") }, idle, list),
  );
  return {
    element,
    /** Show what MeasureCloak reported for each picture. */
    show(reports) {
      idle.hidden = reports.length > 0;
      list.hidden = reports.length === 0;
      list.replaceChildren(...reports.map((report, index) => block(report, index + 1, reports.length)));
    },
  };
}
