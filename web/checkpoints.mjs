// Our templates with a checkpoint that is there: the first that fits, or the rehearsal without one.

const LOADER = "CheckpointLoaderSimple";
const REHEARSAL = { type: "GlazeLoadEncoder", value: "embedded (rehearsal only)" };

/** Whether the wire may be left out: our nodes' optional inputs redraw with the built-in engine. */
const mayBeEmpty = (node, slot) =>
  node.type.startsWith("Glaze") && ["model", "clip", "vae"].includes(node.inputs[slot].name);

/** Whether an input takes an encoder in place of a VAE. */
const takesEncoder = (node, slot) =>
  node.type.startsWith("Glaze") && node.inputs[slot].name.startsWith("encoder");

/**
 * Let the checkpoint loaders of a saved graph name a checkpoint that is there, in place.
 *
 * @param {object} graph a workflow's JSON
 * @param {string[]} present all checkpoints of the host
 * @param {string[]} fitting those that can be cloaked against and redrawn with
 * @returns {{chosen?: string, rehearsal?: boolean, missing?: boolean}} what was done, if anything
 */
export function settleCheckpoints(graph, present, fitting) {
  const loaders = graph.nodes.filter(
    (node) => node.type === LOADER && !present.includes(node.widgets_values[0]),
  );
  if (!loaders.length) return {};
  if (fitting.length) {
    for (const loader of loaders) loader.widgets_values[0] = fitting[0];
    return { chosen: fitting[0] };
  }
  const byId = new Map(graph.nodes.map((node) => [node.id, node]));
  const target = (link) => [byId.get(link[3]), link[4]];
  const leaving = graph.links.filter((link) => loaders.some((loader) => loader.id === link[1]));
  if (leaving.some((link) => !mayBeEmpty(...target(link)) && !takesEncoder(...target(link))))
    return { missing: true };
  for (const loader of loaders) rehearse(loader, graph, leaving, target);
  return { rehearsal: true };
}

/** Put the embedded encoder in a loader's place, and take the other wires away. */
function rehearse(loader, graph, leaving, target) {
  const own = leaving.filter((link) => link[1] === loader.id);
  const kept = own.filter((link) => takesEncoder(...target(link)));
  for (const link of own) {
    const [node, slot] = target(link);
    if (kept.includes(link)) Object.assign(link, { 2: 0, 5: "GLAZE_ENCODER" });
    else node.inputs[slot].link = null;
  }
  graph.links = graph.links.filter((link) => !own.includes(link) || kept.includes(link));
  Object.assign(loader, {
    type: REHEARSAL.type,
    inputs: [],
    outputs: [
      { name: "encoder", type: "GLAZE_ENCODER", links: kept.map((link) => link[0]), slot_index: 0 },
    ],
    widgets_values: [REHEARSAL.value],
    properties: { "Node name for S&R": REHEARSAL.type },
  });
}
