// What is to be known of a template that has just been opened.

import { app } from "../../scripts/app.js";
import { el } from "./dom.mjs";

const LIFE = 15000; // ms that the host's own notice stays

let said = ""; // in the app, of the graph that it shows

/** Where the app says it; on the canvas the stylesheet hides it. */
export const createNotice = () => el("p", { class: "glaze-notice glaze-warning", role: "status" }, said);

/**
 * Say it: in the app below the pictures, which the host's notices would lie over; on a canvas as one
 * of those.  The elements on the page may be those of another tab's graph (see `present`).
 *
 * @param {object} graph a workflow's JSON, before it is loaded
 */
export function tell(graph, severity, detail) {
  if (opensAsApp(graph)) showInApp(detail);
  else app.extensionManager.toast.add({ severity, summary: "Glaze", detail, life: LIFE });
}

/** What was said of a graph no longer holds. */
export const forget = () => showInApp("");

function showInApp(text) {
  said = text;
  for (const place of document.querySelectorAll(".glaze-notice")) place.textContent = text;
}

/** Whether this page has an App mode, and the graph opens in it. */
const opensAsApp = (graph) =>
  graph.extra?.linearMode && app.extensionManager.command.commands.some(({ id }) => id === "Comfy.ToggleLinear");
