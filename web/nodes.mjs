// Nodes of the host's graph: their widgets, their wires, and elements of ours on them.

import { app } from "../../scripts/app.js";

/** The node that an event names: "7", or "3:7" for node 7 inside the subgraph of node 3. */
export function nodeOf(id) {
  let graph = app.rootGraph ?? app.graph;
  let node = null;
  for (const part of String(id).split(":")) {
    node = (graph?.nodes ?? []).find((candidate) => String(candidate.id) === part);
    graph = node?.subgraph;
  }
  return node;
}

/** Add an element below the node's own widgets; it holds no value of its own. */
export function addElement(node, name, element, minHeight, maxHeight = undefined) {
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
export function removeElement(node, widget) {
  widget.onRemove?.();
  widget.element?.remove();
  const index = node.widgets.indexOf(widget);
  if (index >= 0) node.widgets.splice(index, 1);
  node.graph?.setDirtyCanvas(true, true);
}

/** Call `then` after a node's or widget's own method. */
export function after(owner, method, then) {
  const original = owner[method];
  owner[method] = function (...values) {
    const result = original?.apply(this, values);
    then(...values);
    return result;
  };
}

/** Let a node be as tall as its widgets want, never smaller than a person made it. */
export function fit(node) {
  const wanted = node.computeSize();
  node.setSize([Math.max(node.size[0], wanted[0]), Math.max(node.size[1], wanted[1])]);
  node.graph?.setDirtyCanvas(true, true);
}

export const widgetOf = (node, name) => node.widgets?.find((widget) => widget.name === name);
export const inputOf = (node, name) => node.inputs?.find((input) => input.name === name);

/**
 * A node, or the one that has taken its place: where the same app is open in two tabs, the page goes
 * on showing elements of the first tab's nodes when the second one's graph has come.
 */
export function present(node) {
  if (node.graph?.nodes?.includes(node)) return node;
  const other = nodeOf(node.id);
  return other?.type === node.type ? other : node;
}

/** Set a widget as a person would. */
export function set(owner, name, value) {
  const node = present(owner);
  const widget = widgetOf(node, name);
  const before = widget.value;
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
  node.onWidgetChanged?.(name, value, before, widget); // the page takes back what it said of the old value
  node.graph?.change?.();
  node.graph?.setDirtyCanvas(true, true);
}

/** The node that a wire comes from, through reroutes; null without one. */
export function originOf(node, name) {
  let input = inputOf(node, name);
  for (let hops = 0; input && hops < 20; hops++) {
    const link = input.link ?? null;
    const source = link === null ? null : (node.graph?.getLink?.(link) ?? node.graph?.links?.[link]);
    const origin = source ? node.graph.getNodeById(source.origin_id) : null;
    if (origin?.type !== "Reroute") return origin ?? null;
    input = origin.inputs[0];
  }
  return null;
}
