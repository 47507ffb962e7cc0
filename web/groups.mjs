// Group nodes, which older pages make beside subgraphs.

/**
 * Such a page gives each seed in a group a control of what it becomes after a run. Ours have none, and
 * the page would hand the values after a seed to the wrong widgets: leave those seeds as they are.
 */
export function leaveSeeds(definition) {
  const [group] = Object.getOwnPropertySymbols(definition).map((key) => definition[key]);
  for (const [name, { node, inputName }] of Object.entries(group?.newToOldWidgetMap ?? {}))
    if (inputName === "seed" && node.type.startsWith("Glaze"))
      definition.input.required[name][1].control_after_generate = false;
}
