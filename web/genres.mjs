// What GenreShift shows after a run: the share that left the genre, and each picture's best genres.

import { el, guard } from "./dom.mjs";
import { say } from "./words.mjs";

const percent = (share) => Math.round(100 * share);

/** What there is to know before the share is believed. */
function cautions(report) {
  const said = [];
  if (report.colours && !report.colours.enough) said.push(["glaze-warning", say("genre.colours", report.colours)]);
  if (report.works) said.push(["glaze-faint", say("genre.works", { percent: percent(report.works.value) })]);
  if (typeof report.accuracy === "number")
    said.push(["glaze-faint", say("genre.accuracy", { percent: percent(report.accuracy) })]);
  return said.map(([className, text]) => el("p", { class: className }, text));
}

function table(pictures) {
  const head = ["genre.picture", "genre.best", "genre.left"];
  return el(
    "table",
    { "aria-label": say("genre.label") },
    el("thead", {}, el("tr", {}, ...head.map((key) => el("th", { scope: "col" }, say(key))))),
    el(
      "tbody",
      {},
      ...pictures.map((picture, index) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, String(index + 1)),
          el("td", {}, picture.genres.join(", ")),
          el("td", {}, el("b", {}, say(picture.left ? "genre.yes" : "genre.no"))),
        ),
      ),
    ),
  );
}

function block(report) {
  const { share } = report;
  const around = { count: share.count, low: percent(share.low), high: percent(share.high) };
  return el(
    "div",
    { class: "glaze-measures" },
    el(
      "p",
      { class: "glaze-target" },
      el("b", {}, say("genre.share", { percent: percent(share.value), genre: report.genre })),
      el("span", { class: "glaze-faint" }, ` ${say("genre.interval", around)}`),
    ),
    ...cautions(report),
    table(report.pictures),
  );
}

/** The genres of one run's pictures. */
export function createGenres() {
  const idle = el("p", { class: "glaze-message" }, say("genre.idle"));
  const list = el("div", { class: "glaze-scrolls glaze-measured-list", tabindex: "0", hidden: true });
  const element = guard(
    el("section", { class: "glaze glaze-measured", "aria-label": say("genre.label") }, idle, list),
  );
  return {
    element,
    /** Show what GenreShift reported. */
    show(reports) {
      idle.hidden = reports.length > 0;
      list.hidden = reports.length === 0;
      list.replaceChildren(...reports.map(block));
    },
  };
}
