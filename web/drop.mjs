// A place to drop pictures on: one, several or a folder.

import { el, guard } from "./dom.mjs";
import { createNotice } from "./notice.mjs";
import { say } from "./words.mjs";

const PICTURES = /\.(png|jpe?g|webp|tiff?|avif|hei[cf])$/i;

/** The picture files of a drop, those inside folders too. */
export async function filesOf(transfer) {
  const entries = [...(transfer.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const folders = entries.some((entry) => entry.isDirectory);
  const files = folders ? (await Promise.all(entries.map(within))).flat() : [...transfer.files];
  return { files: files.filter((file) => PICTURES.test(file.name)), folders };
}

/** The files below an entry of the browser's file system. */
async function within(entry) {
  if (entry.isFile) return [await new Promise((take, fail) => entry.file(take, fail))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((take, fail) => reader.readEntries(take, fail));
    if (!some.length) return (await Promise.all(found.map(within))).flat();
    found.push(...some);
  }
}

/** Names for files in one folder: a second art.png becomes art (2).png. */
export function distinctNames(files) {
  const taken = new Set();
  return files.map(({ name }) => {
    const [, stem, suffix] = name.match(/^(.*?)(\.[^.]*)?$/);
    let free = name;
    for (let n = 2; taken.has(free.toLowerCase()); n++) free = `${stem} (${n})${suffix ?? ""}`;
    taken.add(free.toLowerCase());
    return free;
  });
}

/**
 * The place itself.
 *
 * @param {(files: File[]) => Promise<void>} onPictures called with what was dropped or chosen
 * @param {(source: string) => string} addressOf where the host serves a picture of a source
 */
export function createDrop(onPictures, addressOf) {
  const picker = el("input", {
    type: "file",
    accept: "image/*",
    multiple: true,
    hidden: true,
    change: () => take([...picker.files].filter((file) => PICTURES.test(file.name))),
  });
  const picture = el("img", { alt: "", draggable: "false", hidden: true, error: () => (picture.hidden = true) });
  const words = el("span", {}, say("drop.words"));
  const status = el("span", { class: "glaze-faint", role: "status" });
  const zone = el(
    "button",
    { type: "button", class: "glaze-drop", click: () => picker.click() },
    picture,
    words,
    status,
  );
  const element = guard(
    el("section", { class: "glaze", "aria-label": say("drop.label") }, zone, picker, createNotice()),
  );

  async function take(files) {
    if (!files.length) return void (status.textContent = say("drop.none"));
    status.textContent = say("drop.loading", { count: files.length });
    try {
      await onPictures(files);
    } catch (error) {
      status.textContent = say("drop.failed", { reason: error.message });
    }
  }

  const over = (on) => (event) => {
    event.preventDefault();
    zone.classList.toggle("glaze-over", on);
  };
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    zone.classList.remove("glaze-over");
    take((await filesOf(event.dataTransfer)).files);
  });

  return {
    element,
    take,
    /** Show what is chosen. */
    setSource(source) {
      status.textContent = source;
      picture.hidden = !source || /\/( \(output\))?$/.test(source);
      if (!picture.hidden) picture.src = addressOf(source);
    },
  };
}
