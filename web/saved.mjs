// What SaveCloaked shows after a run: each saved file, before and after, and its measures.

import { createCompare } from "./compare.mjs";
import { el, guard } from "./dom.mjs";
import { createMeasures } from "./measures.mjs";
import { createVerdict } from "./verdict.mjs";
import { say } from "./words.mjs";

/** A button of the toolbar. */
function button(text, tip, onClick) {
  return el("button", { type: "button", class: "glaze-button", title: tip, click: onClick }, text);
}

/** What the picture on the right is called. */
const labelOf = (entry) => (entry.measures?.poison ? "compare.poisoned" : "compare.after");

/**
 * The saved files of one run.
 *
 * @param {(file: {filename, subfolder, type}) => string} addressOf where the host serves a file
 * @param {(options: object) => (() => void) | null} setterFor what sets an advice's options in the
 *   graph, or null where it has no place for them
 */
export function createSaved(addressOf, setterFor = null) {
  const compare = createCompare();
  const idle = el("p", { class: "glaze-message" }, say("compare.idle"));
  const note = el("p", { class: "glaze-note" });
  const verdict = el("div", {});
  const measures = el("div", { class: "glaze-scrolls glaze-below" });

  const previous = button("‹", say("compare.previous"), () => turn(-1));
  const next = button("›", say("compare.next"), () => turn(1));
  const page = el("span", { class: "glaze-page", role: "status" });
  const pager = el("span", { class: "glaze-group" }, previous, page, next);
  const name = el("span", { class: "glaze-name" });
  const zoom = button(say("compare.full"), say("compare.full.tip"), () => setFull(!compare.full));
  const large = button(say("compare.large"), say("compare.large.tip"), openLarge);
  const open = el("a", { class: "glaze-button", target: "_blank", rel: "noopener", title: say("compare.open.tip") }, say("compare.open"));
  const download = el("a", { class: "glaze-button", title: say("compare.download.tip") }, say("compare.download"));
  for (const [control, label] of [[previous, "compare.previous"], [next, "compare.next"]])
    control.setAttribute("aria-label", say(label));

  const looks = el("span", { class: "glaze-group" });
  const toolbar = el("div", { class: "glaze-row glaze-tools" }, pager, name, looks, el("span", { class: "glaze-group" }, zoom, large, open, download));
  const shown = el("div", { class: "glaze-column", hidden: true }, toolbar, verdict, compare.element, note, measures);
  const element = guard(
    el("section", { class: "glaze glaze-saved", "aria-label": say("compare.label") }, idle, shown),
  );

  let entries = [];
  let index = 0;
  let look = null; // the autoencoder whose pictures are shown, by its number; null for the files

  function setFull(full) {
    compare.full = full;
    zoom.textContent = say(full ? "compare.fit" : "compare.full");
    zoom.title = say(full ? "compare.fit.tip" : "compare.full.tip");
    zoom.setAttribute("aria-pressed", String(full));
  }

  function turn(by) {
    index = (index + by + entries.length) % entries.length;
    render();
  }

  /** The decoded pictures that are shown, if any: {name, original, cloaked}. */
  const decodedOf = (entry) => entry.seen?.[look];

  /** Both pictures in a view, as files or as an autoencoder gives them back. */
  function showPair(view, entry) {
    const { original, cloaked } = decodedOf(entry) ?? { original: entry.original, cloaked: entry.file };
    view.show(original ? addressOf(original) : null, addressOf(cloaked), labelOf(entry));
  }

  /** A switch for each autoencoder; without one, none. */
  function renderLooks(entry) {
    const seen = entry.seen ?? [];
    const label = ({ name }) => (seen.length > 1 ? say("compare.seen.of", { name }) : say("compare.seen"));
    const switches = seen.map((one, number) => {
      const control = button(label(one), say("compare.seen.tip"), () => {
        look = look === number ? null : number;
        render();
        looks.children[number].focus();
      });
      control.setAttribute("aria-pressed", String(look === number));
      return control;
    });
    looks.replaceChildren(...switches);
    looks.hidden = !seen.length;
  }

  function render() {
    idle.hidden = entries.length > 0;
    shown.hidden = entries.length === 0;
    if (!entries.length) return;
    const entry = entries[index];
    const decoded = decodedOf(entry);
    note.textContent = [
      entry.note,
      entry.original || !entry.file ? null : say("compare.no.original"),
      decoded ? say("compare.seen.note", { name: decoded.name }) : null,
    ]
      .filter(Boolean)
      .join(" ");
    note.hidden = !note.textContent;
    const judged = entry.measures ? createVerdict(entry.measures, setterFor) : null;
    verdict.replaceChildren(...(judged ? [judged] : []));
    measures.replaceChildren(...(entry.measures ? [createMeasures(entry.measures)] : []));
    toolbar.hidden = !entry.file;
    compare.element.hidden = !entry.file && !entry.original;
    if (!entry.file) {
      if (entry.original) compare.show(null, addressOf(entry.original), "compare.before");
      return;
    }
    const address = addressOf(entry.file);
    showPair(compare, entry);
    renderLooks(entry);
    pager.hidden = entries.length < 2;
    page.textContent = say("compare.page", { n: index + 1, total: entries.length });
    const path = [entry.file.subfolder, entry.file.filename].filter(Boolean).join("/");
    name.textContent = entry.file.filename;
    name.title = path;
    open.href = address;
    download.href = address;
    download.setAttribute("download", entry.file.filename);
  }

  /** The same pictures over the whole window, free of the graph's zoom. */
  function openLarge() {
    const entry = entries[index];
    const view = createCompare();
    const toggle = button(say("compare.full"), say("compare.full.tip"), () => {
      view.full = !view.full;
      toggle.textContent = say(view.full ? "compare.fit" : "compare.full");
      toggle.setAttribute("aria-pressed", String(view.full));
    });
    const close = button(say("compare.close"), say("compare.close"), () => dialog.close());
    const dialog = guard(
      el(
        "dialog",
        { class: "glaze glaze-large", "aria-label": say("compare.label"), close: () => dialog.remove() },
        el("div", { class: "glaze-row glaze-tools" }, el("span", { class: "glaze-name" }, entry.file.filename), el("span", { class: "glaze-group" }, toggle, close)),
        view.element,
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
    showPair(view, entry);
    view.focus();
  }

  setFull(false);
  return {
    element,
    /**
     * Show what SaveCloaked reported: [{file, original, measures, note, seen}]; file is null where
     * none was saved, and seen has {name, original, cloaked} for each autoencoder.
     */
    show(saved) {
      idle.textContent = say("compare.idle");
      entries = saved;
      index = 0;
      look = null;
      render();
    },
    /** A run ended before this node: what an earlier one saved is no longer shown as if it were new. */
    end(stopped) {
      idle.textContent = say(stopped ? "compare.stopped" : "compare.broken");
      entries = [];
      render();
    },
  };
}
