// A report's measures in an artist's words.

import { el } from "./dom.mjs";
import { createRehearsal } from "./verdict.mjs";
import { say } from "./words.mjs";

const LEVELS = 255;
const digits = (value, count) => (value === null || value === undefined ? "–" : value.toFixed(count));
const levels = (value) => Math.round(value * LEVELS);

/** The rows of one set of measures: name, explanation, value, and a bar from 0 to 1 where it helps. */
function rowsOf(measures, settings, encoders = [], system = null) {
  const { perceptual, shift } = measures;
  const rows = [
    {
      name: say("measure.shift"),
      tip: say(system ? "measure.shift.tip.system" : "measure.shift.tip"),
      value: digits(shift?.["512"], 2),
      detail: shift?.native === undefined || shift.native === null
        ? null
        : say("measure.shift.native", { value: digits(shift.native, 2) }),
      bar: shift?.["512"],
      className: "glaze-warm",
    },
    ...encoders.map((encoder) => rowOfEncoder(measures, encoder)),
  ];
  if (perceptual?.value !== null && perceptual?.value !== undefined) {
    const limited = perceptual.limit !== null && perceptual.limit !== undefined;
    rows.push({
      name: say("measure.perceptual"),
      tip: say("measure.perceptual.tip", { metric: perceptual.metric }),
      value: digits(perceptual.value, 3),
      detail: limited
        ? say("measure.of.limit", { limit: Number(perceptual.limit.toPrecision(3)) })
        : null,
      bar: limited ? perceptual.value / perceptual.limit : null,
      className: "glaze-cool",
    });
  }
  const cap = settings?.linf ?? null;
  rows.push({
    name: say("measure.linf"),
    tip: say("measure.linf.tip"),
    value: String(levels(measures.linf)),
    detail:
      cap === null
        ? say("measure.levels.free")
        : say("measure.levels", { cap: levels(cap) }),
  });
  if (measures.psnr !== null && measures.psnr !== undefined)
    rows.push({
      name: say("measure.psnr"),
      tip: say("measure.psnr.tip"),
      value: `${digits(measures.psnr, 1)} dB`,
      detail: "PSNR",
    });
  return rows;
}

/** What one of several encoders sees; the shift above is that of the least led. */
function rowOfEncoder(measures, { name, fingerprint }) {
  const seen = measures.encoders?.find((one) => one.fingerprint === fingerprint);
  const shift = seen?.shift["512"];
  return { name, tip: say("measure.encoder.tip"), value: digits(shift, 2), bar: shift };
}

/** How many drawings are expected to leave the style; nothing where that is not known. */
function rowsOfEffect({ effect, rehearsal }) {
  if (!effect) return [];
  const [value, low, high] = [effect.value, effect.low, effect.high].map((share) => Math.round(100 * share));
  return [
    {
      name: say("measure.effect"),
      tip: say("measure.effect.tip"),
      value: `${value}%`,
      detail: say(rehearsal ? "measure.effect.rehearsal" : "measure.effect.range", { low, high }),
      bar: effect.value,
      className: "glaze-warm",
    },
  ];
}

/** A table of one report: how far it was led, and how much may be seen. */
export function createMeasures(report) {
  const effect = rowsOfEffect(report); // of what the file holds
  const plain = [...effect, ...rowsOf(report, report.settings, report.encoders, report.system)];
  const encoded = report.encoded
    ? [...effect, ...rowsOf(report.encoded, null, report.encoders)]
    : null;
  const body = plain.map((row, index) =>
    el(
      "tr",
      { title: row.tip, class: row.className ?? null },
      el("th", { scope: "row" }, row.name),
      el(
        "td",
        {},
        el("b", {}, row.value),
        row.detail ? el("span", { class: "glaze-faint" }, ` ${row.detail}`) : null,
        row.bar === undefined || row.bar === null
          ? null
          : el(
              "span",
              { class: "glaze-bar", "aria-hidden": "true" },
              el("i", { style: `width:${Math.min(100, Math.max(0, 100 * row.bar))}%` }),
            ),
      ),
      encoded ? el("td", {}, el("b", {}, encoded[index]?.value ?? "–")) : null,
    ),
  );
  const style = report.target_style;
  const head = encoded
    ? el(
        "thead",
        {},
        el(
          "tr",
          { title: say("measure.encoded.tip") },
          el("td"),
          el("th", { scope: "col" }, say("measure.pixels")),
          el("th", { scope: "col" }, say("measure.encoded")),
        ),
      )
    : null;
  return el(
    "div",
    { class: "glaze-measures" },
    report.rehearsal && !report.verdict // which says it
      ? el("p", { class: "glaze-warning" }, createRehearsal(report))
      : null,
    report.poison
      ? el(
          "p",
          { class: "glaze-target" },
          el("span", { class: "glaze-key" }, `${say("measure.poison")} `),
          el("b", {}, `${report.poison.concept} → ${report.poison.towards}`),
        )
      : null,
    report.system
      ? el(
          "p",
          { class: "glaze-target" },
          el("span", { class: "glaze-key" }, `${say("measure.system")} `),
          el("b", {}, report.system),
        )
      : null,
    style?.name
      ? el(
          "p",
          { class: "glaze-target" },
          el("span", { class: "glaze-key" }, `${say("measure.target")} `),
          el("b", {}, style.name),
          el(
            "span",
            { class: "glaze-faint" },
            [style.artist, style.genre]
              .filter(Boolean)
              .map((word) => ` · ${word}`)
              .join(""),
          ),
        )
      : null,
    el("table", { "aria-label": say("measure.label") }, head, el("tbody", {}, ...body)),
  );
}
