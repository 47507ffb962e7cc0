// What went wrong, on the node that it went wrong in.

import { el, guard } from "./dom.mjs";

const MOST = 600; // characters: more is a trace, which the host's own dialogue shows

/** A sentence to be read at once; it can be selected and copied. */
export function createTrouble(text) {
  const shown = text.trim().slice(0, MOST);
  return guard(el("section", { class: "glaze glaze-trouble", role: "alert" }, el("p", {}, shown)));
}

/** Roughly the height in px that a sentence takes on a node of a width. */
export function heightOfTrouble(text, width) {
  const perLine = Math.max(20, (width - 50) / 6.2);
  return 26 + 17 * Math.ceil(Math.min(text.trim().length, MOST) / perLine);
}
