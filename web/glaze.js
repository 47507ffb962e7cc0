// What the host's page loads: hangs the widgets on the nodes and feeds them the host's events.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { createChart } from "./chart.mjs";
import { guard, loadStyles } from "./dom.mjs";
import { createFolder } from "./folder.mjs";
import { createGallery } from "./gallery.mjs";
import { createGenres } from "./genres.mjs";
import { leakingSavers } from "./leaks.mjs";
import { createMeasured } from "./measured.mjs";
import { createSaved } from "./saved.mjs";
import { createTrouble, heightOfTrouble } from "./trouble.mjs";
import { speak, say } from "./words.mjs";

const SETUPS = {
  GlazeLoadArtwork: setUpSource,
  GlazeCloakOptimize: setUpChart,
  GlazeNightshadePoison: setUpChart,
  GlazeBaselineCloak: setUpChart,
  GlazeGenreShift: setUpGenres,
  GlazeMeasureCloak: setUpMeasured,
  GlazeSaveCloaked: setUpSaved,
  GlazeSelectTargetStyle: setUpGallery,
  GlazeLoadStyleBank: setUpBank,
};

const charts = new Map(); // node -> chart
const galleries = new Map(); // node -> () => void, looks anew at what is wired
const folders = new Map(); // node -> () => void, looks anew at what the folder holds
const saved = new Map(); // node -> what it shows of saved files
const troubles = new Map(); // node -> the widget that says what went wrong
const refused = new Set(); // nodes that the host left out of the present run
const executed = new Set(); // those of `saved` that the present run has reached

app.registerExtension({
  name: "comfy_glaze",
  init() {
    loadStyles();
    speak(app.ui.settings.getSettingValue("Comfy.Locale"));
    api.addEventListener("comfy_glaze.step", ({ detail }) => chartOf(detail.node)?.step(detail));
    api.addEventListener("comfy_glaze.measured", ({ detail }) => chartOf(detail.node)?.measured(detail));
    api.addEventListener("execution_start", begin);
    api.addEventListener("execution_success", () => charts.forEach((chart) => chart.finish()));
    api.addEventListener("execution_interrupted", () => breakOff(true));
    api.addEventListener("execution_error", ({ detail }) => {
      breakOff(false);
      showTrouble(nodeOf(detail.node_id), detail.exception_message);
    });
    api.addEventListener("executing", ({ detail }) => finishOthers(detail));
    watchRefusals();
  },
  nodeCreated(node) {
    SETUPS[node.comfyClass]?.(node);
  },
  afterConfigureGraph() {
    galleries.forEach((look) => look());
    warnOfLeaks();
  },
  refreshComboInNodes() {
    folders.forEach((look) => look());
  },
});

/** A run begins: what the last one left to be read goes. */
function begin() {
  executed.clear();
  [...troubles.keys()].filter((node) => !refused.has(node)).forEach(clearTrouble);
  warnOfLeaks();
}

/** A run was stopped, or failed: what it did not reach shows nothing old. */
function breakOff(stopped) {
  charts.forEach((chart) => chart.stop());
  saved.forEach((shown, node) => {
    if (!executed.has(node)) shown.end(stopped);
  });
}

/** Say what went wrong on the node itself, if it is one of ours; the host's dialogue has the trace. */
function showTrouble(node, text) {
  if (!text || !String(node?.comfyClass).startsWith("Glaze")) return;
  clearTrouble(node);
  const height = heightOfTrouble(text, node.size[0]);
  troubles.set(node, addElement(node, "trouble", createTrouble(text), () => height, () => height));
  fit(node);
}

function clearTrouble(node) {
  const widget = troubles.get(node);
  if (!widget) return;
  troubles.delete(node);
  removeElement(node, widget);
}

/** What the host refuses before a run, with our reason, is said on the node as well. */
function watchRefusals() {
  const queue = api.queuePrompt;
  const show = (errors) => {
    for (const [id, { errors: reasons }] of Object.entries(errors ?? {}))
      for (const { type, details, extra_info: about } of reasons ?? [])
        if (type === "custom_validation_failed") {
          refused.add(nodeOf(id));
          showTrouble(nodeOf(id), details.replace(`${about?.input_name} - `, ""));
        }
  };
  api.queuePrompt = async function (...values) {
    refused.clear();
    [...troubles.keys()].forEach(clearTrouble);
    try {
      const answer = await queue.apply(this, values);
      show(answer?.node_errors);
      return answer;
    } catch (error) {
      show(error?.response?.node_errors);
      throw error;
    }
  };
}

/** Warn on each Cloak behind which another saver would write the workflow into the files. */
function warnOfLeaks() {
  charts.forEach((chart, node) => {
    const savers = leakingSavers(node);
    chart.warn(savers.length ? say("chart.leak", { savers: savers.join(", ") }) : null);
  });
}

/** The node that an event names: "7", or "3:7" for node 7 inside the subgraph of node 3. */
function nodeOf(id) {
  let graph = app.rootGraph ?? app.graph;
  let node = null;
  for (const part of String(id).split(":")) {
    node = (graph?.nodes ?? []).find((candidate) => String(candidate.id) === part);
    graph = node?.subgraph;
  }
  return node;
}

const chartOf = (id) => charts.get(nodeOf(id));

/** Once another node executes, the charts of those before it are complete. */
function finishOthers(id) {
  if (id === null || id === undefined) return;
  const current = nodeOf(id?.node ?? id);
  charts.forEach((chart, node) => {
    if (node !== current) chart.finish();
  });
}

/** Add an element below the node's own widgets; it holds no value of its own. */
function addElement(node, name, element, minHeight, maxHeight = undefined) {
  const widget = node.addDOMWidget(name, "GLAZE", element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: minHeight,
    ...(maxHeight && { getMaxHeight: maxHeight }),
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  return widget;
}

/** Take an element off a node again. */
function removeElement(node, widget) {
  widget.onRemove?.();
  widget.element?.remove();
  const index = node.widgets.indexOf(widget);
  if (index >= 0) node.widgets.splice(index, 1);
  node.graph?.setDirtyCanvas(true, true);
}

/** Call `then` after a node's or widget's own method. */
function after(owner, method, then) {
  const original = owner[method];
  owner[method] = function (...values) {
    const result = original?.apply(this, values);
    then(...values);
    return result;
  };
}

/** Let a node be as tall as its widgets want, never smaller than a person made it. */
function fit(node) {
  const wanted = node.computeSize();
  node.setSize([Math.max(node.size[0], wanted[0]), Math.max(node.size[1], wanted[1])]);
  node.graph?.setDirtyCanvas(true, true);
}

const widgetOf = (node, name) => node.widgets?.find((widget) => widget.name === name);
const inputOf = (node, name) => node.inputs?.find((input) => input.name === name);

/** A folder shows what a run takes of it; the host's own preview is for single pictures. */
function setUpSource(node) {
  const named = (name) => widgetOf(node, name)?.value;
  const isFolder = () => /\/( \(output\))?$/.test(named("source") ?? "");
  Object.defineProperty(node, "hideOutputImages", { get: isFolder });

  const ask = (path, values) => `/comfy_glaze/${path}?${new URLSearchParams(values)}`;
  const folder = createFolder((name) => api.apiURL(ask("folder_picture", { source: named("source"), name })));
  let widget = null;
  let latest = null; // the question asked last

  async function look() {
    if (isFolder() && !widget) widget = addElement(node, "folder", folder.element, () => 72);
    if (!isFolder()) {
      if (widget) removeElement(node, widget);
      widget = latest = null;
      return;
    }
    const question = ask("folder", { source: named("source"), first: named("first"), last: named("last") });
    latest = question;
    const response = await api.fetchApi(question).catch(() => null);
    const answer = await response?.json().catch(() => null);
    if (latest !== question) return;
    if (response?.ok && answer) folder.show(answer);
    else folder.setTrouble(say("folder.failed", { reason: answer?.error ?? response?.statusText ?? "" }));
  }

  takePainted(node);
  folders.set(node, look);
  after(node, "onRemoved", () => folders.delete(node));
  after(node, "onConfigure", () => queueMicrotask(look));
  for (const name of ["source", "first", "last"]) {
    const owner = widgetOf(node, name);
    if (owner) after(owner, "callback", look);
  }
  queueMicrotask(look);
}

/**
 * The page's mask editor gives its painted copy to a node's `images`, and to a widget only if that
 * is called "image"; ours is called "source".
 */
function takePainted(node) {
  let images = node.images;
  Object.defineProperty(node, "images", {
    configurable: true,
    enumerable: true,
    get: () => images,
    set(value) {
      images = value;
      const source = widgetOf(node, "source");
      const painted = value?.[0];
      const name = `clipspace/${painted?.filename} [input]`;
      if (painted?.subfolder !== "clipspace" || !source || source.value === name) return;
      source.value = name;
      source.callback?.(name, app.canvas, node);
      node.graph?.change?.();
    },
  });
}

function setUpChart(node) {
  const chart = createChart();
  charts.set(node, chart);
  after(node, "onRemoved", () => charts.delete(node));
  after(node, "onConnectionsChange", () => queueMicrotask(warnOfLeaks));
  chart.element.addEventListener("pointerenter", warnOfLeaks);
  addElement(node, "cloak_chart", guard(chart.element), () => 160);
}

function setUpSaved(node) {
  // The host would show the saved files once more below the slider.
  node.hideOutputImages = true;
  Object.defineProperty(node, "imgs", { get: () => undefined, set: () => {} });
  const shown = createSaved((file) => api.apiURL(`/view?${new URLSearchParams(file)}`));
  let filled = false;
  addElement(node, "before_after", shown.element, () => (filled ? 420 : 60));
  saved.set(node, shown);
  after(node, "onRemoved", () => saved.delete(node));
  after(node, "onExecuted", (output) => {
    if (!output?.glaze) return;
    executed.add(node);
    filled = output.glaze.length > 0;
    shown.show(output.glaze);
    fit(node);
  });
}

/** A list of reports below the widgets, which a run fills. */
function setUpReports(node, name, key, shown, height) {
  let filled = false;
  addElement(node, name, shown.element, () => (filled ? height : 60));
  after(node, "onExecuted", (output) => {
    if (!output?.[key]) return;
    filled = output[key].length > 0;
    shown.show(output[key]);
    fit(node);
  });
}

function setUpMeasured(node) {
  setUpReports(node, "measured", "glaze_measured", createMeasured(), 360);
}

function setUpGenres(node) {
  setUpReports(node, "genres", "glaze_genres", createGenres(), 260);
}

function setUpBank(node) {
  const bank = widgetOf(node, "bank");
  if (bank) after(bank, "callback", () => galleries.forEach((look) => look()));
}

/** The name of the bank behind a wire; null where it does not come from a LoadStyleBank. */
function wiredBank(node) {
  let input = inputOf(node, "style_bank");
  for (let hops = 0; hops < 20; hops++) {
    const link = input?.link;
    const source = link === null || link === undefined ? null : node.graph?.getLink?.(link) ?? node.graph?.links?.[link];
    const origin = source ? node.graph.getNodeById(source.origin_id) : null;
    if (!origin) return null;
    if (origin.comfyClass === "GlazeLoadStyleBank") return widgetOf(origin, "bank")?.value ?? null;
    if (origin.type !== "Reroute") return null;
    input = origin.inputs[0];
  }
  return null;
}

function setUpGallery(node) {
  const style = widgetOf(node, "style");
  if (!style) return;
  let bank; // the one whose styles are shown; undefined before the first look

  const address = (path, values) => `/comfy_glaze/${path}?${new URLSearchParams(values)}`;
  const gallery = createGallery(
    (name) => {
      style.value = name;
      style.callback?.(name, app.canvas, node);
      node.graph?.change?.();
      node.graph?.setDirtyCanvas(true, true);
    },
    (name) => api.apiURL(address("thumbnail", { bank, style: name })),
  );
  addElement(node, "gallery", gallery.element, () => 260);
  after(style, "callback", (value) => gallery.setValue(String(value)));

  async function look() {
    gallery.setValue(String(style.value));
    gallery.setLocked((inputOf(node, "style")?.link ?? null) !== null);
    const wired = wiredBank(node);
    if (wired === bank) return;
    bank = wired;
    if (bank === null) return gallery.setStyles(null);
    gallery.setTrouble(say("gallery.loading"));
    try {
      const response = await api.fetchApi(address("styles", { bank }));
      const styles = await response.json().catch(() => ({ error: response.statusText }));
      if (!response.ok) throw new Error(styles.error);
      if (wired === bank) gallery.setStyles(styles);
    } catch (error) {
      if (wired === bank) gallery.setTrouble(say("gallery.failed", { reason: error.message }));
    }
  }

  galleries.set(node, look);
  after(node, "onRemoved", () => galleries.delete(node));
  after(node, "onConfigure", () => queueMicrotask(look));
  after(node, "onConnectionsChange", () => queueMicrotask(look));
  gallery.element.addEventListener("pointerenter", look);
  gallery.element.addEventListener("focusin", look);
  after(node, "onExecuted", (output) => {
    if (output?.glaze_ranking) gallery.setRanking(output.glaze_ranking, output.glaze_chosen ?? []);
    if (output?.glaze_ranking) gallery.setNotes(output.glaze_notes ?? []);
  });
  queueMicrotask(look);
}
