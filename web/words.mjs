// What the widgets say, in the languages of locales/. English stands in for any other.

const ENGLISH = {
  "chart.label": "How the cloak grows",
  "chart.idle": "Press Run to watch the cloak grow.",
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
  "time.seconds": "{n} s",
  "time.minutes": "{n} min",
  "time.hours": "{h} h {m} min",

  "compare.label": "Before and after",
  "compare.idle": "Your cloaked pictures appear here after a run.",
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
  "compare.no.original": "The original is not at hand, so only the cloaked picture is shown.",

  "measure.label": "What was measured",
  "measure.target": "Led towards",
  "measure.shift": "Shift",
  "measure.shift.tip":
    "How far the features moved from your original (0) to the redrawn picture (1), on the whole picture at 512 px.",
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
    "Rehearsal: the embedded encoder belongs to no image generator, so this cloak guards nothing yet. Wire your checkpoint's VAE to cloak for use.",
  "measure.rehearsal.poison":
    "Rehearsal: the embedded encoder belongs to no image generator, so this poison reaches none.",
  "measure.poison": "Poison:",
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
  "gallery.auto.text": "Let the distance decide: one style from the band, drawn by the seed",
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

const GERMAN = {
  "chart.label": "Wie der Stilmantel wächst",
  "chart.idle": "Auf „Ausführen“ drücken und zusehen, wie der Stilmantel wächst.",
  "chart.step": "Schritt {step} von {steps}",
  "chart.picture": "Bild {picture} von {pictures}",
  "chart.left": "noch etwa {time}",
  "chart.shift": "Verschiebung",
  "chart.shift.tip":
    "Wie weit die Merkmale des Bildes gewandert sind: 0 ist dein Original, 1 das umgemalte Bild.",
  "chart.perceptual": "Sichtbare Änderung",
  "chart.perceptual.tip":
    "Wahrgenommener Abstand vom Original. Die gestrichelte Linie ist die Grenze deines Budgets; das Gespeicherte bleibt darunter.",
  "chart.limit": "Grenze {limit}",
  "chart.none": "keine Grenze",
  "chart.done": "Fertig nach {steps} Schritten",
  "chart.stopped": "Angehalten bei Schritt {step} von {steps}",
  "chart.curve": "{name} bei Schritt {step}: {value}",
  "time.seconds": "{n} s",
  "time.minutes": "{n} min",
  "time.hours": "{h} h {m} min",

  "compare.label": "Vorher und nachher",
  "compare.idle": "Nach einem Lauf erscheinen hier deine ummantelten Bilder.",
  "compare.before": "Original",
  "compare.after": "Ummantelt",
  "compare.poisoned": "Vergiftet",
  "compare.divider": "Trennlinie zwischen Original und ummanteltem Bild",
  "compare.position": "{percent} % Original",
  "compare.fit": "Ganz",
  "compare.full": "100 %",
  "compare.fit.tip": "Das ganze Bild zeigen",
  "compare.full.tip": "Ein Bildpunkt je Bildschirmpunkt; ziehen, um den Ausschnitt zu bewegen",
  "compare.large": "Groß",
  "compare.large.tip": "Im ganzen Fenster vergleichen",
  "compare.close": "Schließen",
  "compare.previous": "Voriges Bild",
  "compare.next": "Nächstes Bild",
  "compare.page": "{n} von {total}",
  "compare.open": "Öffnen",
  "compare.open.tip": "Die gespeicherte Datei in einem neuen Tab öffnen",
  "compare.download": "Laden",
  "compare.download.tip": "Die gespeicherte Datei herunterladen",
  "compare.missing": "Dieses Bild lässt sich nicht zeigen; vielleicht wurde die Datei verschoben.",
  "compare.no.original": "Das Original liegt nicht vor; gezeigt wird nur das ummantelte Bild.",

  "measure.label": "Was gemessen wurde",
  "measure.target": "Geführt zu",
  "measure.shift": "Verschiebung",
  "measure.shift.tip":
    "Wie weit die Merkmale vom Original (0) zum umgemalten Bild (1) gewandert sind, am ganzen Bild bei 512 px.",
  "measure.shift.native": "{value} in Ausschnitten",
  "measure.perceptual": "Sichtbare Änderung",
  "measure.perceptual.tip": "{metric}: 0 heißt kein Unterschied. Der Wert blieb an oder unter deiner Grenze.",
  "measure.of.limit": "von {limit} erlaubt",
  "measure.linf": "Größte Änderung",
  "measure.linf.tip": "Um wie viel sich ein Bildpunkt höchstens bewegt hat, in 255 Stufen von Schwarz bis Weiß.",
  "measure.levels": "von {cap} Stufen erlaubt",
  "measure.levels.free": "von 255 Stufen",
  "measure.psnr": "Ähnlichkeit",
  "measure.psnr.tip": "PSNR: höher heißt näher am Original.",
  "measure.encoded": "In der Datei",
  "measure.pixels": "Vor dem Speichern",
  "measure.encoded.tip":
    "JPEG und verlustbehaftetes WebP ändern Bildpunkte von sich aus. Diese Spalte misst die Datei, wie andere sie öffnen.",
  "measure.rehearsal":
    "Probe: Der eingebaute Encoder gehört zu keinem Bildgenerator, also schützt dieser Mantel noch nichts. Für den Ernstfall das VAE deines Checkpoints anschließen.",
  "measure.rehearsal.poison":
    "Probe: Der eingebaute Encoder gehört zu keinem Bildgenerator, dieses Gift erreicht also keinen.",
  "measure.poison": "Gift:",
  "measure.idle": "Nach einem Lauf erscheint hier, was gemessen wurde.",
  "measure.page": "Bild {n} von {total}",
  "measure.quality": "Was ein Auge sieht",
  "measure.quality.missing":
    "SSIMULACRA2 und FLIP sind nicht gemessen: Ihre Pakete fehlen; siehe die Hilfeseite dieses Knotens.",
  "measure.ssimulacra.tip": "100: gleich. 90: kaum jemand sieht einen Unterschied. 70: gut. 50: mittel. Kein Mantel wird darauf optimiert.",
  "measure.flip.tip": "0: gleich. Wie viel sich ändert, wenn man zwischen beiden Bildern hin und her schaltet. Kein Mantel wird darauf optimiert.",
  "measure.flat": "Änderung auf ruhigem Grund",
  "measure.flat.tip": "ΔE2000, wo das Bild ruhig ist und Körnung zuerst auffiele; unter 1 sieht es kaum jemand.",
  "measure.left.label": "Was vom Mantel bleibt, das Schlimmste zuerst",
  "measure.after": "Nach",
  "measure.left": "Rest",
  "measure.left.tip": "Die Verschiebung, die danach noch bleibt, das Schlimmste zuerst; 0 ist dein Original, 1 das umgemalte Bild.",
  "measure.kept": "Anteil",
  "measure.kept.tip": "Der Anteil der unberührten Verschiebung, der bleibt.",

  "gallery.label": "Zielstile",
  "gallery.search": "Stile, Künstler, Genres suchen",
  "gallery.genre": "Genre",
  "gallery.genres": "Alle Genres",
  "gallery.order": "Reihenfolge",
  "gallery.order.name": "Nach Namen",
  "gallery.order.distance": "Nächste zuerst",
  "gallery.band": "Im Band",
  "gallery.band.tip": "Nur Stile im Abstandsband des letzten Laufs",
  "gallery.auto": "auto",
  "gallery.auto.text": "Der Abstand entscheidet: ein Stil aus dem Band, vom Startwert gezogen",
  "gallery.auto.chose": "Der letzte Lauf wählte {name}",
  "gallery.count": "{shown} von {total} Stilen",
  "gallery.empty": "Kein Stil passt. Suche leeren, um alle zu sehen.",
  "gallery.unknown": "Eine Stilbank anschließen oder einmal ausführen, um ihre Stile zu sehen.",
  "gallery.loading": "Stile werden geladen …",
  "gallery.failed": "Die Stile dieser Bank ließen sich nicht lesen: {reason}",
  "gallery.absent": "„{name}“ ist nicht in dieser Bank.",
  "gallery.wired": "Der Stil kommt über die Leitung.",
  "gallery.distance": "Abstand {distance}, weiter als {percentile} % der Bank",
  "gallery.inband": "im Band",
  "gallery.chosen": "gewählt",
};

export const LANGUAGES = { en: ENGLISH, de: GERMAN };

let chosen = ENGLISH;

/** Speak the language of a locale such as "de" or "de-AT"; English where it is not known. */
export function speak(locale) {
  chosen = LANGUAGES[String(locale ?? "en").slice(0, 2)] ?? ENGLISH;
}

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
