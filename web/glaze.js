// What the host's page loads: hangs the widgets on the nodes and feeds them the host's events.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { createChart } from "./chart.mjs";
import { settleCheckpoints } from "./checkpoints.mjs";
import { guard, loadStyles } from "./dom.mjs";
import { createGallery } from "./gallery.mjs";
import { createGenres } from "./genres.mjs";
import { leaveSeeds } from "./groups.mjs";
import { leakingSavers } from "./leaks.mjs";
import { createMeasured } from "./measured.mjs";
import { addElement, after, fit, inputOf, nodeOf, originOf, removeElement, set, widgetOf } from "./nodes.mjs";
import { showNotice } from "./notice.mjs";
import { createPresets } from "./presets.mjs";
import { createSaved } from "./saved.mjs";
import { lookAtFolders, setUpSource } from "./source.mjs";
import { createTrouble, heightOfTrouble } from "./trouble.mjs";
import { speak, say } from "./words.mjs";

const SETUPS = {
  GlazeLoadArtwork: setUpSource,
  GlazeCloakOptimize: setUpChart,
  GlazeCloakPicture: setUpPicture,
  GlazeLPIPSBudget: setUpPresets,
  GlazeNightshadePoison: setUpChart,
  GlazeBaselineCloak: setUpChart,
  GlazeGenreShift: setUpGenres,
  GlazeMeasureCloak: setUpMeasured,
  GlazeSaveCloaked: setUpSaved,
  GlazeSelectTargetStyle: setUpGallery,
  GlazeLoadStyleBank: setUpBank,
};

const NOTICE = 15000; // ms that the host's own notice stays

const charts = new Map(); // node -> chart
const galleries = new Map(); // node -> () => void, looks anew at what is wired
const saved = new Map(); // node -> what it shows of saved files
const troubles = new Map(); // node -> the widget that says what went wrong
const refused = new Set(); // nodes that the host left out of the present run
const executed = new Set(); // those of `saved` that the present run has reached

app.registerExtension({
  name: "comfy_glaze",
  async init() {
    loadStyles();
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
    orderTemplates();
    await learnLanguage();
  },
  beforeRegisterNodeDef(_, definition) {
    leaveSeeds(definition);
  },
  nodeCreated(node) {
    SETUPS[node.comfyClass]?.(node);
    if (node.comfyClass?.startsWith("Glaze")) foldAdvanced(node);
  },
  async beforeConfigureGraph(graph) {
    template = graph.extra?.comfy_glaze?.template ?? null;
    showNotice(""); // what was said of another graph
    if (!template) return;
    delete graph.extra.comfy_glaze; // what a person saves is theirs
    graph.id = LiteGraph.uuidv4(); // opened twice, it is two; with one id, both tabs would show the first
    await settle(graph);
  },
  afterConfigureGraph() {
    galleries.forEach((look) => look());
    warnOfLeaks();
    if (template) showStart(template);
    template = null;
  },
  refreshComboInNodes: lookAtFolders,
});

let template = null; // what our template that is being loaded says of itself

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

/** List our templates by their numbers, in the order to try them; the host has the file system's. */
function orderTemplates() {
  const list = api.getWorkflowTemplates;
  const folder = decodeURIComponent(new URL(".", import.meta.url).pathname.split("/").at(-2));
  api.getWorkflowTemplates = async function (...values) {
    const templates = await list.apply(this, values);
    templates[folder]?.sort();
    return templates;
  };
}

/** Warn on each Cloak behind which another saver would write the workflow into the files. */
function warnOfLeaks() {
  charts.forEach((chart, node) => {
    const savers = leakingSavers(node);
    chart.warn(savers.length ? say("chart.leak", { savers: savers.join(", ") }) : null);
  });
}

/** Give a template of ours a checkpoint that is there, and say so. */
async function settle(graph) {
  const response = await api.fetchApi("/comfy_glaze/checkpoints");
  if (!response.ok) return;
  const { present, fitting } = await response.json();
  const { chosen, rehearsal, missing } = settleCheckpoints(graph, present, fitting);
  if (chosen) tell(graph, "info", say("checkpoint.chosen", { name: chosen }));
  if (rehearsal) tell(graph, "warn", say("checkpoint.rehearsal"));
  if (missing) tell(graph, "warn", say("checkpoint.missing"));
}

/** Say it below the app's pictures, which the host's notices would lie over, or as one of those. */
function tell(graph, severity, detail) {
  if (opensAsApp(graph)) showNotice(detail);
  else app.extensionManager.toast.add({ severity, summary: "Glaze", detail, life: NOTICE });
}

/** Whether this page has an App mode, and the graph opens in it. */
const opensAsApp = (graph) =>
  graph.extra?.linearMode && app.extensionManager.command.commands.some(({ id }) => id === "Comfy.ToggleLinear");

/** Begin at a template's own beginning, at a size that can be read; the host shows all, too small. */
function showStart({ start: [left, top], scale }) {
  const { ds, canvas } = app.canvas;
  const show = () => {
    ds.scale = scale;
    ds.offset[0] = 70 / scale - left; // beside the host's bar
    ds.offset[1] = 90 / scale - top; // below the tabs
    app.canvas.setDirty(true, true);
  };
  show();
  if (canvas.width && canvas.height) return;
  // Behind an app the canvas has no size, and the host fits the view once more when it has one.
  ds.fitToBounds = () => {
    delete ds.fitToBounds;
    show();
  };
}

/** Fold away what an artist never touches on the canvas too; Nodes 2.0 does it by itself. */
function foldAdvanced(node) {
  for (const widget of node.widgets ?? []) if (widget.options?.advanced) widget.advanced = true;
  node.setSize(node.computeSize());
}

/** Speak the page's language, if locales/ has it. */
async function learnLanguage() {
  const locale = String(app.ui.settings.getSettingValue("Comfy.Locale") ?? "en");
  const response = await api.fetchApi("/i18n");
  const languages = response.ok ? await response.json() : {};
  speak((languages[locale] ?? languages[locale.slice(0, 2)])?.comfy_glaze);
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

function setUpPresets(node) {
  const preset = widgetOf(node, "preset");
  if (!preset) return;
  const presets = createPresets((name) => set(node, "preset", name));
  addElement(node, "presets", presets.element, () => 124).label = say("app.presets");
  const show = () => {
    presets.setValue(preset.value);
    if (preset.value === "custom") node.showAdvanced = true; // limit and linf are what it takes
  };
  after(preset, "callback", show);
  after(node, "onConfigure", () => queueMicrotask(show));
  const uniform = widgetOf(node, "uniform");
  if (uniform?.options) uniform.options.advanced = false; // a switch beside the presets
  if (uniform) uniform.label = say("app.uniform");
  show();
}

function setUpPicture(node) {
  setUpPresets(node);
  setUpGallery(node);
  setUpChart(node);
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
  const shown = createSaved(
    (file) => api.apiURL(`/view?${new URLSearchParams(file)}`),
    (options) => setterFor(node, options),
  );
  let filled = false;
  const height = () => (filled ? 420 : 60);
  addElement(node, "before_after", shown.element, height).label = say("app.result");
  saved.set(node, shown);
  after(node, "onRemoved", () => saved.delete(node));
  after(node, "onExecuted", (output) => {
    if (!output?.glaze) return;
    executed.add(node);
    filled = output.glaze.length > 0;
    shown.show(output.glaze);
    fit(node);
    // In the app it stands below all that can be chosen.
    shown.element.closest("[data-testid=app-mode-widget-item]")?.scrollIntoView({ block: "start" });
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
  const wired = (inputOf(node, "style_bank")?.link ?? null) !== null;
  if (!wired && node.comfyClass === "GlazeCloakPicture") return "built in";
  const origin = originOf(node, "style_bank");
  return origin?.comfyClass === "GlazeLoadStyleBank" ? (widgetOf(origin, "bank")?.value ?? null) : null;
}

/** Set what an advice names on the nodes that a cloak comes from; null where they have no place. */
function setterFor(node, options) {
  const cloak = originOf(node, "cloak");
  const budget = cloak?.comfyClass === "GlazeCloakPicture" ? cloak : cloak && originOf(cloak, "budget");
  const values = []; // [node, widget, value]
  if (options.format) values.push([node, "format", options.format]);
  if (options.preset) values.push([budget, "preset", options.preset]);
  else if (options.linf || options.limit) values.push([budget, "preset", "custom"]);
  if (options.linf) values.push([budget, "linf", parseFloat(options.linf)]); // of "16/255"
  if (options.limit) values.push([budget, "limit", parseFloat(options.limit)]);
  if (options.uniform) values.push([budget, "uniform", true]);
  if (!values.every(([owner, name, value]) => owner && takes(widgetOf(owner, name), value))) return null;
  return () => values.forEach((one) => set(...one));
}

const takes = (widget, value) => widget && (widget.options?.values?.includes?.(value) ?? true);

function setUpGallery(node) {
  const style = widgetOf(node, "style");
  if (!style) return;
  let bank; // the one whose styles are shown; undefined before the first look

  const address = (path, values) => `/comfy_glaze/${path}?${new URLSearchParams(values)}`;
  const gallery = createGallery(
    (name) => {
      set(node, "style", name);
    },
    (name) => api.apiURL(address("thumbnail", { bank, style: name })),
  );
  addElement(node, "gallery", gallery.element, () => 260).label = say("app.style");
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
