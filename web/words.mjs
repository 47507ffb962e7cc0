// What the widgets say in English. Other languages are in locales/, and the host delivers them.

export const ENGLISH = {
  "chart.label": "How the change grows",
  "chart.idle": "Press Run to watch the change grow.",
  "chart.step": "Step {step} of {steps}",
  "chart.picture": "picture {picture} of {pictures}",
  "chart.left": "about {time} left",
  "chart.shift": "Shift",
  "chart.shift.tip":
    "How far the picture's features have moved: 0 is your original, 1 is the redrawn picture.",
  "chart.perceptual": "Visible change",
  "chart.perceptual.tip":
    "Perceptual distance from your original. The dashed line is your budget's limit; what is saved stays under it.",
  "chart.limit": "limit {limit}",
  "chart.none": "no limit",
  "chart.done": "Done after {steps} steps",
  "chart.stopped": "Stopped at step {step} of {steps}",
  "chart.curve": "{name} at step {step}: {value}",
  "chart.leak":
    "{savers} writes this workflow, and with it the name of the target style, into its files. Publish what Save Cloaked saves, or start ComfyUI with --disable-metadata.",
  "time.seconds": "{n} s",
  "time.minutes": "{n} min",
  "time.hours": "{h} h {m} min",

  "compare.label": "Before and after",
  "compare.idle": "Your cloaked pictures appear here after a run.",
  "compare.stopped": "The run was stopped before anything was saved here.",
  "compare.broken": "The run ended with an error before anything was saved here.",
  "compare.before": "Original",
  "compare.after": "Cloaked",
  "compare.poisoned": "Poisoned",
  "compare.divider": "Divider between the original and the cloaked picture",
  "compare.position": "{percent}% original",
  "compare.fit": "Fit",
  "compare.full": "100%",
  "compare.fit.tip": "Show the whole picture",
  "compare.full.tip": "One picture pixel per screen pixel; drag to move about",
  "compare.large": "Large",
  "compare.large.tip": "Compare in the whole window",
  "compare.close": "Close",
  "compare.previous": "Previous picture",
  "compare.next": "Next picture",
  "compare.page": "{n} of {total}",
  "compare.open": "Open",
  "compare.open.tip": "Open the saved file in a new tab",
  "compare.download": "Download",
  "compare.download.tip": "Download the saved file",
  "compare.missing": "This picture cannot be shown; the file may have been moved.",
  "compare.seen": "What a model sees",
  "compare.seen.of": "What a model sees: {name}",
  "compare.seen.tip": "Both pictures as a model's autoencoder gives them back",
  "compare.seen.note":
    "What a model's autoencoder ({name}) makes of the two pictures: saved as JPEG 85, at 512 px, encoded and decoded again. A model trains on the numbers in between. Two that look alike do not show that the change fails, and two that differ do not show that it works.",
  "compare.no.original": "The original is not at hand, so only the cloaked picture is shown.",

  "folder.label": "Pictures of the folder",
  "folder.one": "1 picture",
  "folder.all": "{total} pictures",
  "folder.part": "{chosen} of {total} pictures: first and last leave out the others",
  "folder.failed": "The folder cannot be shown: {reason}",

  "measure.label": "What was measured",
  "measure.target": "Led towards",
  "measure.effect": "Expected effect",
  "measure.effect.tip":
    "How many of a model's drawings are expected to leave your style, if all your works are cloaked like this and the mimic undoes nothing. Fitted to small models that were trained on old illustrators' works.",
  "measure.effect.range": "{low} to {high}%, by artist",
  "measure.effect.rehearsal": "{low} to {high}%, if a generator had this encoder",
  "measure.shift": "Shift",
  "measure.shift.tip":
    "How far the features moved from your original (0) to the redrawn picture (1), on the whole picture at 512 px.",
  "measure.encoder.tip": "The shift that this encoder sees. The one that is led least comes first.",
  "measure.shift.native": "{value} in close-up tiles",
  "measure.perceptual": "Visible change",
  "measure.perceptual.tip": "{metric}: 0 means no difference. It was held at or below your limit.",
  "measure.of.limit": "of {limit} allowed",
  "measure.linf": "Largest change",
  "measure.linf.tip": "The most that any pixel moved, in the 255 levels from black to white.",
  "measure.levels": "of {cap} levels allowed",
  "measure.levels.free": "of 255 levels",
  "measure.psnr": "Likeness",
  "measure.psnr.tip": "PSNR: higher is nearer to the original.",
  "measure.encoded": "In the file",
  "measure.pixels": "Before saving",
  "measure.encoded.tip":
    "A JPEG or lossy WebP changes pixels by itself. This column is measured on the file as others will open it.",
  "measure.rehearsal":
    "Rehearsal: the built-in encoder belongs to no image generator, so this cloak guards nothing yet.",
  "measure.rehearsal.poison":
    "Rehearsal: the built-in encoder belongs to no image generator, so this poison reaches none.",
  "measure.poison": "Poison:",
  "measure.system": "Cloaked as:",
  "measure.shift.tip.system":
    "How far the features moved on this system's own way: 0 untouched, 1 its goal. Not comparable with other systems: wire Measure Cloak for that.",
  "measure.idle": "What was measured appears here after a run.",
  "measure.page": "Picture {n} of {total}",
  "measure.quality": "What an eye sees",
  "measure.quality.missing":
    "SSIMULACRA2 and FLIP are not measured: their packages are missing; see this node's help page.",
  "measure.ssimulacra.tip": "100: equal. 90: hardly anyone sees a difference. 70: good. 50: medium. No cloak is optimised for it.",
  "measure.flip.tip": "0: equal. How much changes when the two pictures are flipped back and forth. No cloak is optimised for it.",
  "measure.flat": "Change on even ground",
  "measure.flat.tip": "ΔE2000 where the picture is even and any grain would show first; below 1 hardly anyone sees it.",
  "measure.left.label": "What is left of the cloak, worst first",
  "measure.after": "After",
  "measure.left": "Left",
  "measure.left.tip": "The shift that is left after this change, worst first; 0 is your original, 1 the redrawn picture.",
  "measure.kept": "Kept",
  "measure.kept.tip": "The part of the untouched shift that is left.",

  "genre.label": "Genres of the pictures",
  "genre.idle": "The genres of the pictures appear here after a run.",
  "genre.share": "{percent}% left {genre}",
  "genre.interval": "of {count}; 95% interval {low} to {high}%",
  "genre.works": "The judge misses {percent}% of the artist's own works; read the share next to that.",
  "genre.colours": "These two halves of a CLIP name {named} of {of} plain colours, so the genres mean nothing. The text half may lack its projection.",
  "genre.accuracy": "The judge is right for {percent}% of pictures that it was not trained on.",
  "genre.picture": "Picture",
  "genre.best": "Taken for",
  "genre.left": "Left",
  "genre.yes": "yes",
  "genre.no": "no",

  "preset.label": "How much may change",
  "preset.gallery": "Gallery",
  "preset.gallery.text": "shows least, does least",
  "preset.gallery.tip": "Shows least: look at 100%. It moves a model least.",
  "preset.default": "Default",
  "preset.default.text": "between the two",
  "preset.default.tip": "Shows a little on even ground. It moves a model more than Gallery.",
  "preset.strong": "Strong",
  "preset.strong.text": "goes furthest, and shows",
  "preset.strong.tip": "Shows plainly, on even ground too. It moves a model furthest of the three.",

  "verdict.none": "No effect to be expected.",
  "verdict.weak": "Weak.",
  "verdict.fair": "Fair.",
  "verdict.good": "Good.",
  "verdict.none.means": "A model that learns from such pictures will learn the style as if there were no cloak.",
  "verdict.weak.means": "In this project's tests, models learned the style all the same.",
  "verdict.fair.means": "In this project's tests, models began to lose the style, but kept much of it.",
  "verdict.good.means": "In this project's tests, models drew mostly in other styles. That is no promise.",
  "verdict.advice": "Try {options}: it leads further and shows more.",
  "verdict.undoes": "What undoes it: {page}",
  "verdict.try": "Set this",
  "verdict.try.tip": "Sets what is proposed; press Run to cloak again with it.",
  "verdict.set": "Set. Press Run to cloak again.",

  "drop.label": "Your pictures",
  "drop.words": "Drop pictures or a folder here, or click to choose",
  "drop.loading": "Loading {count} …",
  "drop.none": "There is no picture among these files.",
  "drop.failed": "They could not be loaded: {reason}",

  "app.pictures": "1 · Your pictures",
  "app.presets": "2 · How much may change",
  "app.uniform": "Change plain areas, too (uniform)",
  "app.style": "3 · Target style (auto is fine)",
  "app.result": "Before, after, and the verdict",

  "checkpoint.chosen": "{name} was chosen, the first of your checkpoints that fits. If you worry about another model, choose its checkpoint in Load Checkpoint.",
  "checkpoint.rehearsal": "No checkpoint was found, so this is a rehearsal: it shows every step, and the cloak guards nothing. Put a Stable Diffusion checkpoint into models/checkpoints and open the template again.",
  "checkpoint.missing": "This workflow draws with a checkpoint, and none that fits was found. Put a Stable Diffusion checkpoint into models/checkpoints and open the template again.",

  "gallery.label": "Target styles",
  "gallery.search": "Search styles, artists, genres",
  "gallery.genre": "Genre",
  "gallery.genres": "All genres",
  "gallery.order": "Order",
  "gallery.order.name": "By name",
  "gallery.order.distance": "Nearest first",
  "gallery.band": "In band",
  "gallery.band.tip": "Only styles inside the distance band of the last run",
  "gallery.auto": "auto",
  "gallery.auto.text": "Chosen for you: the style that a model shall learn in place of yours",
  "gallery.auto.chose": "The last run chose {name}",
  "gallery.count": "{shown} of {total} styles",
  "gallery.empty": "No style matches. Clear the search to see all.",
  "gallery.unknown": "Wire a Load style bank here, or run once, to see its styles.",
  "gallery.loading": "Loading styles …",
  "gallery.failed": "The styles of this bank could not be read: {reason}",
  "gallery.absent": "“{name}” is not in this bank.",
  "gallery.wired": "The style comes in through the wire.",
  "gallery.distance": "distance {distance}, farther than {percentile}% of the bank",
  "gallery.inband": "in band",
  "gallery.chosen": "chosen",
};

/** Sentences that say what a cloak does or does not do: until a native reader has read a translation,
 * the English one stands beside it. */
const CLAIMS = new Set([
  "chart.perceptual.tip",
  "measure.effect.tip",
  "measure.perceptual.tip",
  "compare.seen.note",
  "measure.rehearsal",
  "measure.rehearsal.poison",
  "preset.gallery.tip",
  "preset.default.tip",
  "preset.strong.tip",
  "verdict.none",
  "verdict.weak",
  "verdict.fair",
  "verdict.good",
  "checkpoint.rehearsal",
]);

let chosen = ENGLISH;
let foreign = false;

/**
 * Speak a language: its words, and English for those that it lacks.
 *
 * @param {{words?: object, read?: string[]}} language from locales/: its words, and the claims among
 *   them that a native reader has read
 */
export function speak({ words = {}, read = [] } = {}) {
  foreign = Object.keys(words).length > 0;
  const beside = (key) => CLAIMS.has(key) && key in words && !read.includes(key);
  chosen = Object.fromEntries(
    Object.entries(ENGLISH).map(([key, english]) => [
      key,
      beside(key) ? `${words[key]} [${english}]` : (words[key] ?? english),
    ]),
  );
}

/** Whether another language than English is spoken. */
export const isForeign = () => foreign;

/** The words for a key, with {names} filled in. */
export function say(key, values = {}) {
  return chosen[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** A duration as a person would say it. */
export function sayDuration(seconds) {
  if (seconds < 90) return say("time.seconds", { n: Math.max(1, Math.round(seconds)) });
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return say("time.minutes", { n: minutes });
  return say("time.hours", { h: Math.floor(minutes / 60), m: minutes % 60 });
}
