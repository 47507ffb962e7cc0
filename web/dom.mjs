// Small helpers for building and guarding DOM inside a node.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (functions become listeners, null and false are left out) and children. */
export function el(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * Keep what happens inside a widget away from the host's canvas: a drag must not move the node,
 * a letter must not be a shortcut, and the wheel must scroll a list before it zooms the graph.
 * Combinations with Ctrl or Cmd (run, undo, save) still reach the host.
 */
export function guard(element) {
  for (const type of ["pointerdown", "mousedown", "dblclick", "contextmenu"])
    element.addEventListener(type, (event) => event.stopPropagation());
  element.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
  });
  element.addEventListener(
    "wheel",
    (event) => {
      const list = event.target.closest(".glaze-scrolls");
      if (list && list.scrollHeight > list.clientHeight && !event.ctrlKey) event.stopPropagation();
    },
    { passive: true },
  );
  return element;
}

/** Load the stylesheet beside this module, once. */
export function loadStyles() {
  const href = new URL("./glaze.css", import.meta.url).href;
  if (![...document.styleSheets].some((sheet) => sheet.href === href))
    document.head.append(el("link", { rel: "stylesheet", href }));
}
