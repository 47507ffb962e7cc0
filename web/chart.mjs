// The live chart on CloakOptimize: shift and visible change per step.

import { el, svg } from "./dom.mjs";
import { say, sayDuration } from "./words.mjs";

const WIDTH = 300; // units of the drawing, which stretches to the node's width
const HEIGHT = 60;

/**
 * One curve in a frame, with its name, its newest value and, where given, a dashed limit.  The value
 * has as many digits as SaveCloaked shows.
 */
function panel(name, tip, className, digits) {
  const value = el("b", { class: "glaze-value" });
  const note = el("span", { class: "glaze-faint" });
  const curve = svg("polyline", { class: "glaze-curve" });
  const area = svg("polygon", { class: "glaze-area" });
  const limit = svg("line", { class: "glaze-limit", x1: 0, x2: WIDTH, style: "display:none" });
  const drawing = svg(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": name,
    },
    svg("line", { class: "glaze-base", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
    area,
    curve,
    limit,
  );
  const element = el(
    "div",
    { class: `glaze-panel ${className}`, title: tip },
    el("div", { class: "glaze-row" }, el("span", { class: "glaze-key" }, name), note, value),
    drawing,
  );

  /** Draw points [step, value], with `top` at the upper edge. */
  function draw(points, steps, top, limitValue = null) {
    const x = (step) => (WIDTH * step) / Math.max(1, steps);
    const y = (v) => HEIGHT - 2 - (HEIGHT - 6) * Math.min(1, Math.max(0, v / top));
    const text = points.map(([step, v]) => `${x(step).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
    curve.setAttribute("points", text);
    const [first, last] = [points[0], points.at(-1)];
    area.setAttribute(
      "points",
      points.length ? `${x(first[0])},${HEIGHT} ${text} ${x(last[0])},${HEIGHT}` : "",
    );
    limit.style.display = limitValue === null ? "none" : "";
    if (limitValue !== null)
      for (const end of ["y1", "y2"]) limit.setAttribute(end, y(limitValue).toFixed(1));
    value.textContent = points.length ? last[1].toFixed(digits) : "";
    drawing.setAttribute(
      "aria-label",
      points.length
        ? say("chart.curve", { name, step: last[0], value: last[1].toFixed(digits) })
        : name,
    );
  }
  return { element, note, draw };
}

/**
 * A chart that follows `comfy_glaze.step` events.
 *
 * `step(detail)` adds one point; `measured(detail)` puts what the result measures in the place of the
 * last one; `finish()` and `stop()` say how the run ended; `clear()` empties it; `warn(text)` shows a
 * sentence below, or none.
 */
export function createChart() {
  const status = el("div", { class: "glaze-status", role: "status", "aria-live": "off" });
  const shift = panel(say("chart.shift"), say("chart.shift.tip"), "glaze-warm", 2);
  const change = panel(say("chart.perceptual"), say("chart.perceptual.tip"), "glaze-cool", 3);
  const bar = el("div", { class: "glaze-pictures", "aria-hidden": "true" });
  const warning = el("p", { class: "glaze-warning", role: "status", hidden: true });
  const element = el(
    "section",
    { class: "glaze glaze-chart", "aria-label": say("chart.label") },
    status,
    bar,
    shift.element,
    change.element,
    warning,
  );
  let shifts, changes, latest;

  function clear() {
    [shifts, changes, latest] = [[], [], null];
    shift.draw([], 1, 1);
    change.draw([], 1, 1);
    change.note.textContent = "";
    bar.replaceChildren();
    status.textContent = say("chart.idle");
    element.dataset.state = "idle";
  }

  function step(detail) {
    if (!latest || detail.picture !== latest.picture || detail.step < latest.step)
      [shifts, changes] = [[], []];
    latest = detail;
    shifts.push([detail.step, detail.shift]);
    if (detail.perceptual !== null) changes.push([detail.step, detail.perceptual]);
    element.dataset.state = "running";
    status.setAttribute("aria-live", "off");
    drawCurves(detail);

    const parts = [say("chart.step", detail)];
    if (detail.pictures > 1) parts.push(say("chart.picture", detail));
    if (detail.seconds_left !== null && detail.step < detail.steps)
      parts.push(say("chart.left", { time: sayDuration(detail.seconds_left) }));
    status.textContent = parts.join(" · ");
    drawPictures(detail);
  }

  /** The optimiser's last point gives way to what the cloak measures, as the report says it. */
  function measured(detail) {
    if (detail.picture !== latest?.picture) return;
    shifts[shifts.length - 1] = [detail.step, detail.shift];
    if (changes.length) changes[changes.length - 1] = [detail.step, detail.perceptual];
    drawCurves(detail);
  }

  function drawCurves({ steps, limit: allowed }) {
    const limit = allowed ?? null;
    const highest = Math.max(...changes.map(([, v]) => v), 1e-6);
    shift.draw(shifts, steps, Math.max(1, ...shifts.map(([, v]) => v)));
    change.draw(changes, steps, Math.max(highest, limit ?? 0) * 1.15, limit);
    change.note.textContent =
      limit === null ? say("chart.none") : say("chart.limit", { limit: Number(limit.toPrecision(3)) });
  }

  /** One segment per picture where there are several: done, under way, to come. */
  function drawPictures({ picture, pictures, step: at, steps }) {
    bar.hidden = pictures < 2;
    const count = pictures > 40 ? 1 : pictures; // a folder of hundreds becomes one bar
    const done = ((picture - 1 + at / Math.max(1, steps)) * count) / pictures;
    while (bar.children.length > count) bar.lastChild.remove();
    while (bar.children.length < count) bar.append(el("i", {}, el("b")));
    [...bar.children].forEach((segment, index) => {
      segment.firstChild.style.width = `${100 * Math.min(1, Math.max(0, done - index))}%`;
    });
  }

  /** Say how the run ended; steps are not read aloud, the end is. */
  function end(key, state) {
    if (element.dataset.state !== "running") return;
    status.setAttribute("aria-live", "polite");
    status.textContent = say(key, latest);
    element.dataset.state = state;
  }

  clear();
  return {
    element,
    step,
    measured,
    clear,
    warn(text) {
      warning.textContent = text ?? "";
      warning.hidden = !text;
    },
    finish: () => end("chart.done", "done"),
    stop: () => end("chart.stopped", "stopped"),
  };
}
