// The verdict on a cloak: one sentence, what to try, and a button that sets it.

import { el } from "./dom.mjs";
import { isForeign, say } from "./words.mjs";

const LEVELS = {
  none: "verdict.none",
  weak: "verdict.weak",
  fair: "verdict.fair",
  good: "verdict.good",
};
const MEANINGS = {
  none: "verdict.none.means",
  weak: "verdict.weak.means",
  fair: "verdict.fair.means",
  good: "verdict.good.means",
};
const OPTION = /--(preset|linf|limit|uniform|format)(?:[ =](?!--)([\w./]+))?/g;

/** The options that an advice names for the command line, such as {preset: "strong", uniform: true}. */
export function optionsIn(advice) {
  return Object.fromEntries(
    [...(advice ?? "").matchAll(OPTION)].map(([, name, value]) => [name, value ?? true]),
  );
}

/** An advice without the command line's options. */
export const inWords = (advice) =>
  (advice ?? "").replace(/ ?\(--[^)]*\)/g, "").replace(/--format (\w+)/g, (_, name) => name.toUpperCase());

/** What a larger budget is called in the page's language; empty for another advice. */
function nameOf({ preset, linf, limit, uniform }) {
  const parts = [preset && say(`preset.${preset}`), linf && `linf ${linf}`, limit && `limit ${limit}`];
  return [...parts, uniform && say("app.uniform")].filter(Boolean).join(" + ");
}

/** That no image generator has the encoder, and so what was made does nothing. */
export const createRehearsal = ({ poison }) =>
  el("b", {}, say(poison ? "measure.rehearsal.poison" : "measure.rehearsal"));

/**
 * The verdict of a report. The library's sentences are English; in another language, what they mean
 * stands before them.
 *
 * @param {{verdict?: {level, sentence, try}, poison?: object, how_to_break?: string}} report
 * @param {((options: object) => (() => void) | null) | null} setterFor what sets the options in the
 *   graph, or null where the graph has no place for them
 */
export function createVerdict(report, setterFor = null) {
  const { verdict, poison, rehearsal } = report;
  if (!verdict) return null;
  const options = optionsIn(verdict.try);
  const set = setterFor && Object.keys(options).length ? setterFor(options) : null;
  const level = rehearsal ? createRehearsal(report) : el("b", {}, say(LEVELS[verdict.level]));
  const meaning = isForeign() && !poison && !rehearsal ? `${say(MEANINGS[verdict.level])} ` : "";
  const larger = isForeign() && nameOf(options) ? `${say("verdict.advice", { options: nameOf(options) })} ` : "";
  const done = el("span", { class: "glaze-faint", role: "status" });
  const button = el(
    "button",
    {
      type: "button",
      class: "glaze-button",
      title: say("verdict.try.tip"),
      click: () => {
        set();
        button.disabled = true;
        done.textContent = say("verdict.set");
      },
    },
    say("verdict.try"),
  );
  return el(
    "div",
    { class: "glaze-verdict", "data-level": rehearsal ? "rehearsal" : verdict.level, role: "note" },
    el("p", {}, level, " ", meaning, verdict.sentence),
    verdict.try ? el("p", { class: "glaze-faint" }, larger, inWords(verdict.try)) : null,
    set ? el("div", { class: "glaze-row" }, button, done) : null,
    report.how_to_break
      ? el("p", { class: "glaze-faint" }, say("verdict.undoes", { page: report.how_to_break }))
      : null,
  );
}
