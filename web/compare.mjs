// Before and after: two pictures under one divider, with zoom.

import { el } from "./dom.mjs";
import { say } from "./words.mjs";

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * Two pictures of the same subject, the left part showing one and the right part the other.
 *
 * Drag the divider or click where it should be; its keys are the arrows, Page Up and Down, Home and
 * End.  At 100% a drag moves the picture, and so do Shift and the arrows.
 */
export function createCompare() {
  const before = el("img", { class: "glaze-before", alt: say("compare.before"), draggable: "false" });
  const after = el("img", { class: "glaze-after", alt: say("compare.after"), draggable: "false" });
  const frame = el("div", { class: "glaze-frame" }, before, after);
  const divider = el(
    "div",
    {
      class: "glaze-divider",
      role: "slider",
      tabindex: "0",
      "aria-label": say("compare.divider"),
      "aria-valuemin": "0",
      "aria-valuemax": "100",
    },
    el("span", { class: "glaze-knob", "aria-hidden": "true" }, "◂▸"),
  );
  const left = el("span", { class: "glaze-tag glaze-tag-left" }, say("compare.before"));
  const right = el("span", { class: "glaze-tag glaze-tag-right" }, say("compare.after"));
  const missing = el("p", { class: "glaze-message", role: "alert", hidden: true }, say("compare.missing"));
  const stage = el("div", { class: "glaze-stage" }, frame, left, right, divider, missing);

  let position = 0.5; // of the part of the picture that is in view
  let full = false;
  let pan = { x: 0.5, y: 0.5 }; // the point of the picture at the stage's middle, at 100%
  let hasOriginal = true;

  /** Where the picture lies on the stage, in the stage's own pixels. */
  function place() {
    const size = { w: after.naturalWidth || 1, h: after.naturalHeight || 1 };
    const stageSize = { w: stage.clientWidth, h: stage.clientHeight };
    let scale = Math.min(stageSize.w / size.w, stageSize.h / size.h);
    if (full) {
      // The host scales the whole graph; undo that, so that 100% means the screen's pixels.
      const hosted = stage.getBoundingClientRect().width / Math.max(1, stageSize.w);
      scale = 1 / Math.max(hosted, 0.01);
    }
    const [w, h] = [size.w * scale, size.h * scale];
    const offset = (room, length, at) =>
      length <= room ? (room - length) / 2 : clamp(room / 2 - at * length, room - length, 0);
    return {
      x: offset(stageSize.w, w, full ? pan.x : 0.5),
      y: offset(stageSize.h, h, full ? pan.y : 0.5),
      w,
      h,
      stageSize,
    };
  }

  function layout() {
    if (!stage.clientWidth) return;
    const { x, y, w, h, stageSize } = place();
    Object.assign(frame.style, {
      left: `${x}px`,
      top: `${y}px`,
      width: `${w}px`,
      height: `${h}px`,
    });
    const from = Math.max(0, x);
    const to = Math.min(stageSize.w, x + w);
    const at = hasOriginal ? from + position * (to - from) : from;
    after.style.clipPath = `inset(0 0 0 ${Math.max(0, at - x)}px)`;
    Object.assign(divider.style, {
      left: `${at}px`,
      top: `${Math.max(0, y)}px`,
      height: `${Math.min(stageSize.h, y + h) - Math.max(0, y)}px`,
    });
    for (const tag of [left, right]) tag.style.top = `${Math.max(0, y) + 6}px`;
    left.style.left = `${from + 6}px`;
    right.style.right = `${stageSize.w - to + 6}px`;
    left.style.opacity = at - from > 60 ? "1" : "0";
    right.style.opacity = to - at > 60 ? "1" : "0";
    const percent = Math.round(100 * position);
    divider.setAttribute("aria-valuenow", String(percent));
    divider.setAttribute("aria-valuetext", say("compare.position", { percent }));
    stage.classList.toggle("glaze-full", full);
  }

  function moveDivider(to) {
    position = clamp(to, 0, 1);
    layout();
  }

  /** A pointer's place on the stage, in the stage's own pixels whatever the host's zoom. */
  function pointOf(event) {
    const box = stage.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) * stage.clientWidth) / box.width,
      y: ((event.clientY - box.top) * stage.clientHeight) / box.height,
    };
  }

  function dividerTo(point) {
    const { x, w, stageSize } = place();
    const from = Math.max(0, x);
    const to = Math.min(stageSize.w, x + w);
    moveDivider((point.x - from) / Math.max(1, to - from));
  }

  function panBy(dx, dy) {
    const { w, h, stageSize } = place();
    const along = (at, by, length, room) => {
      const margin = Math.min(0.5, room / 2 / length);
      return clamp(at - by / length, margin, 1 - margin);
    };
    pan = { x: along(pan.x, dx, w, stageSize.w), y: along(pan.y, dy, h, stageSize.h) };
    layout();
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    const onDivider = divider.contains(event.target);
    const moves = full && !onDivider;
    let last = pointOf(event);
    if (!moves) {
      divider.focus({ preventScroll: true });
      dividerTo(last);
    }
    const follow = (next) => {
      const point = pointOf(next);
      if (moves) panBy(point.x - last.x, point.y - last.y);
      else dividerTo(point);
      last = point;
    };
    const release = () => {
      stage.removeEventListener("pointermove", follow);
      stage.removeEventListener("pointerup", release);
      stage.removeEventListener("pointercancel", release);
    };
    stage.addEventListener("pointermove", follow);
    stage.addEventListener("pointerup", release);
    stage.addEventListener("pointercancel", release);
  });

  divider.addEventListener("keydown", (event) => {
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
    const upright = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
    if (event.shiftKey && full && (sideways || upright)) panBy(-40 * sideways, -40 * upright);
    else if (sideways || upright) moveDivider(position + 0.02 * (sideways || -upright));
    else if (event.key === "PageUp" || event.key === "PageDown")
      moveDivider(position + (event.key === "PageUp" ? 0.1 : -0.1));
    else if (event.key === "Home") moveDivider(0);
    else if (event.key === "End") moveDivider(1);
    else return;
    event.preventDefault();
  });

  for (const image of [before, after]) image.addEventListener("load", layout);
  after.addEventListener("error", () => {
    missing.hidden = !after.getAttribute("src");
  });
  before.addEventListener("error", () => showOriginal(false));
  new ResizeObserver(layout).observe(stage);

  function showOriginal(shown) {
    hasOriginal = shown;
    for (const part of [before, divider, left]) part.hidden = !shown;
    layout();
  }

  return {
    element: stage,
    /** Show a pair of pictures by address; `original` may be null. `label` names the other one. */
    show(original, cloaked, label = "compare.after") {
      missing.hidden = true;
      right.textContent = say(label);
      after.alt = right.textContent;
      showOriginal(original !== null);
      if (original === null) before.removeAttribute("src");
      else before.src = original;
      after.src = cloaked;
    },
    get full() {
      return full;
    },
    set full(value) {
      full = value;
      layout();
    },
    focus: () => divider.focus(),
  };
}
