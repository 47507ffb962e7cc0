// The presets as pictures and words, in place of numbers.

import { el, guard } from "./dom.mjs";
import { say } from "./words.mjs";

const PRESETS = {
  gallery: ["preset.gallery", "preset.gallery.text", "preset.gallery.tip"],
  default: ["preset.default", "preset.default.text", "preset.default.tip"],
  strong: ["preset.strong", "preset.strong.text", "preset.strong.tip"],
};

const pictureOf = (name) => new URL(`./pictures/preset-${name}.webp`, import.meta.url).href;

/**
 * One button for each preset, with a picture and a word on what it does.
 *
 * @param {(name: string) => void} onChoose called when a person chooses
 */
export function createPresets(onChoose) {
  const group = `glaze-preset-${Math.random().toString(36).slice(2, 9)}`;
  const choices = Object.entries(PRESETS).map(([name, [title, text, tip]]) => {
    const radio = el("input", { type: "radio", name: group, value: name, change: () => onChoose(name) });
    return el(
      "label",
      { class: "glaze-preset", title: say(tip) },
      radio,
      el("img", { src: pictureOf(name), alt: "", draggable: "false" }),
      el("b", {}, say(title)),
      el("span", { class: "glaze-faint" }, say(text)),
    );
  });
  const element = guard(
    el(
      "section",
      { class: "glaze glaze-presets", role: "radiogroup", "aria-label": say("preset.label") },
      ...choices,
    ),
  );
  return {
    element,
    /** Mark a preset; none for any other value. */
    setValue(value) {
      for (const radio of element.querySelectorAll("input")) radio.checked = radio.value === value;
    },
  };
}
