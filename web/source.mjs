// LoadArtwork: pictures that are dropped, painted on or chosen, and what a folder holds.

import { api } from "../../scripts/api.js";
import { ComfyApp } from "../../scripts/app.js";
import { createDrop, distinctNames, filesOf } from "./drop.mjs";
import { createFolder } from "./folder.mjs";
import { addElement, after, present, removeElement, set, widgetOf } from "./nodes.mjs";
import { say } from "./words.mjs";

const folders = new Map(); // node -> () => void, looks anew at what the folder holds

/** Look anew at what the folders hold. */
export const lookAtFolders = () => folders.forEach((look) => look());

const isFolder = (source) => /\/( \(output\))?$/.test(source ?? "");

export function setUpSource(node) {
  const source = widgetOf(node, "source");
  if (!source) return;
  // No picture stands for a folder; Nodes 2.0 would show an error in its place.
  Object.defineProperty(node, "hideOutputImages", { get: () => isFolder(source.value) });
  takeDropped(node, source);
  takePainted(node, source);
  showFolder(node, source);
}

/** Drop, paste or choose one picture, several, or a folder; several go into a folder of their own. */
function takeDropped(node, source) {
  const drop = createDrop(async (files) => choose(await upload(files)), pictureOf);
  addElement(node, "pictures", drop.element, () => 64).label = say("app.pictures");
  after(source, "callback", () => drop.setSource(source.value));
  after(node, "onConfigure", () => queueMicrotask(() => drop.setSource(source.value)));
  drop.setSource(source.value);

  function choose(name) {
    const { values } = widgetOf(present(node), "source").options;
    if (!values.includes(name)) values.push(name);
    set(node, "source", name);
    drop.setSource(name);
  }
  const dropOnHost = node.onDragDrop;
  node.onDragDrop = async function (event) {
    const { files, folders } = await filesOf(event.dataTransfer);
    if (!folders && files.length < 2) return dropOnHost?.call(this, event);
    await drop.take(files);
    return true;
  };
}

/** Where the host serves a picture of a source, such as "art.png" or "clipspace/art.png [input]". */
function pictureOf(source) {
  const [, subfolder = "", filename] = source.replace(/ \[input\]$/, "").match(/^(?:(.*)\/)?(.*)$/);
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type: "input" })}`);
}

/** Put files into the host's input folder; gives their name as a source. */
async function upload(files) {
  const folder = files.length > 1 ? `glaze ${new Date().toISOString().slice(0, 19).replace(/:/g, "-")}` : "";
  const names = distinctNames(files);
  let saved = "";
  for (const [index, file] of files.entries()) {
    const form = new FormData();
    form.append("image", file, names[index]);
    form.append("subfolder", folder);
    const response = await api.fetchApi("/upload/image", { method: "POST", body: form });
    if (!response.ok) throw new Error(`${file.name}: ${response.status} ${response.statusText}`);
    saved = (await response.json()).name;
  }
  return folder ? `${folder}/` : saved;
}

/** A folder shows what a run takes of it; the host's own preview is for single pictures. */
function showFolder(node, source) {
  const ask = (path, values) => `/comfy_glaze/${path}?${new URLSearchParams(values)}`;
  const folder = createFolder((name) => api.apiURL(ask("folder_picture", { source: source.value, name })));
  let widget = null;
  let latest = null; // the question asked last

  async function look() {
    const shown = isFolder(source.value);
    if (shown && !widget) widget = addElement(node, "folder", folder.element, () => 72);
    if (!shown) {
      if (widget) removeElement(node, widget);
      widget = latest = null;
      return;
    }
    const [first, last] = ["first", "last"].map((name) => widgetOf(node, name)?.value);
    const question = ask("folder", { source: source.value, first, last });
    latest = question;
    const response = await api.fetchApi(question).catch(() => null);
    const answer = await response?.json().catch(() => null);
    if (latest !== question) return;
    if (response?.ok && answer) folder.show(answer);
    else folder.setTrouble(say("folder.failed", { reason: answer?.error ?? response?.statusText ?? "" }));
  }

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
 * is called "image"; ours is called "source". Older pages save the copy into a folder, clipspace.
 */
function takePainted(node, source) {
  let images = node.images;
  Object.defineProperty(node, "images", {
    configurable: true,
    enumerable: true,
    get: () => images,
    set(value) {
      images = value;
      const { filename, subfolder } = withColours(value?.[0]) ?? {};
      if (!filename?.startsWith("clipspace-")) return;
      const plain = filename.replace(/ \[input\]$/, ""); // older pages take that for a part of the name
      const name = `${subfolder ? `${subfolder}/` : ""}${plain} [input]`;
      // Older pages now put the widgets' values back that were there before the painting.
      queueMicrotask(() => source.value !== name && set(node, "source", name));
    },
  });
}

/** Older pages give a node the mask alone, and keep the copy with what was painted in colour beside it. */
function withColours(masked) {
  const { images, combinedIndex } = ComfyApp.clipspace ?? {};
  const painted = images?.[combinedIndex];
  const name = masked?.filename?.replace("clipspace-mask-", "clipspace-painted-masked-");
  return name && painted?.filename === name ? painted : masked;
}
