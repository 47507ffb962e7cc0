// In the app: what is to be known of the template that has just been opened, below its pictures.

import { el } from "./dom.mjs";

let said = ""; // of the graph that the app shows

/** Where it is said; on the canvas the stylesheet hides it. */
export const createNotice = () => el("p", { class: "glaze-notice glaze-warning", role: "status" }, said);

/** Say it wherever there is a place for it; an empty text takes it back. */
export function showNotice(text) {
  said = text;
  for (const place of document.querySelectorAll(".glaze-notice")) place.textContent = text;
}
