// What LoadArtwork shows of a folder: how many pictures a run takes, and the first of them.

import { el } from "./dom.mjs";
import { say } from "./words.mjs";

/**
 * @param {(name: string) => string} addressOf where a small copy of a picture is served
 */
export function createFolder(addressOf) {
  const count = el("p", { class: "glaze-count", role: "status" });
  const strip = el("div", { class: "glaze-strip" });
  const element = el("section", { class: "glaze glaze-folder", "aria-label": say("folder.label") }, count, strip);

  /** A small copy; one that cannot be made leaves its name. */
  function thumbnail(name) {
    const picture = el("img", { src: addressOf(name), alt: name, title: name, draggable: "false" });
    picture.addEventListener("error", () => picture.replaceWith(el("span", { title: name }, name)));
    return picture;
  }

  return {
    element,
    /** Show what a run takes: {chosen, total, names}, the names those of the first few. */
    show({ chosen, total, names }) {
      const part = chosen < total;
      const words = part ? "folder.part" : total === 1 ? "folder.one" : "folder.all";
      count.textContent = say(words, { chosen, total });
      count.classList.toggle("glaze-warning", part);
      strip.replaceChildren(...names.map(thumbnail));
    },
    /** Say why the folder cannot be shown. */
    setTrouble(text) {
      count.textContent = text;
      count.classList.add("glaze-warning");
      strip.replaceChildren();
    },
  };
}
