// Which savers behind a cloak would write the workflow, and with it the target style, into a file.

const SHOWS_ONLY = new Set(["PreviewImage", "ImageCompare", "MaskPreview"]);
const MUTED = 2; // the host's mode of a node that does not run

const isOurs = (node) => String(node.comfyClass ?? node.type).startsWith("Glaze");
const saves = (node) => Boolean(node.constructor.nodeData?.output_node) && !SHOWS_ONLY.has(node.type);

/** The nodes that an output is wired to. */
function targetsOf(graph, output) {
  const links = (output?.links ?? []).map((id) => graph.getLink?.(id) ?? graph.links?.[id]);
  return links.filter(Boolean).map((link) => graph.getNodeById(link.target_id)).filter(Boolean);
}

/**
 * The titles of other packs' and the host's savers that pictures of a node's first output reach.
 * Our own leave the workflow out.
 */
export function leakingSavers(node) {
  const graph = node.graph;
  const seen = new Set();
  const titles = [];
  const waiting = graph ? targetsOf(graph, node.outputs?.[0]) : [];
  while (waiting.length) {
    const next = waiting.pop();
    if (seen.has(next) || next.mode === MUTED || isOurs(next)) continue;
    seen.add(next);
    if (saves(next)) titles.push(next.title);
    waiting.push(...(next.outputs ?? []).flatMap((output) => targetsOf(graph, output)));
  }
  return titles.sort();
}
