// The style gallery on SelectTargetStyle: thousands of styles, a handful of elements.

import { el, guard } from "./dom.mjs";
import { say } from "./words.mjs";

export const AUTO = "auto";

const GAP = 6;
const AUTO_HEIGHT = 42;
const SHAPES = {
  tiles: { width: 104, height: 144 }, // a bank with thumbnails
  rows: { width: Infinity, height: 38 }, // a bank without
};

/** Letters as a search sees them: no case, no accents. */
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/** Styles that contain every word of a search, of a genre, and in the band where only that counts. */
export function filterStyles(styles, { search = "", genre = "", bandOnly = false } = {}) {
  const words = plain(search).split(/\s+/).filter(Boolean);
  return styles.filter(
    (style) =>
      (!genre || style.genre === genre) &&
      (!bandOnly || style.in_band) &&
      words.every((word) => style.text.includes(word)),
  );
}

/** The bank's list joined with the last run's ranking; a run alone is a list, too. */
export function joinRanking(styles, ranking) {
  const measured = new Map(ranking.map((entry) => [entry.name, entry]));
  return (styles ?? ranking).map((style) => ({
    thumbnail: false,
    ...style,
    ...measured.get(style.name),
    text: plain([style.name, style.artist, style.genre].filter(Boolean).join(" ")),
  }));
}

const byName = (a, b) => a.name.localeCompare(b.name);
const byDistance = (a, b) => (a.distance ?? Infinity) - (b.distance ?? Infinity) || byName(a, b);

/**
 * A gallery of target styles with "auto" first.
 *
 * @param {(name: string) => void} onChoose called when a person chooses
 * @param {(name: string) => string} thumbnailOf the address of a style's thumbnail
 */
export function createGallery(onChoose, thumbnailOf) {
  const search = el("input", {
    type: "search",
    class: "glaze-search",
    placeholder: say("gallery.search"),
    "aria-label": say("gallery.search"),
    spellcheck: "false",
    autocomplete: "off",
    input: () => renew(),
  });
  const genre = el("select", { "aria-label": say("gallery.genre"), change: () => renew() });
  const order = el(
    "select",
    { "aria-label": say("gallery.order"), change: () => renew() },
    el("option", { value: "name" }, say("gallery.order.name")),
    el("option", { value: "distance" }, say("gallery.order.distance")),
  );
  const bandOnly = el("input", { type: "checkbox", change: () => renew() });
  const band = el("label", { class: "glaze-check", title: say("gallery.band.tip") }, bandOnly, say("gallery.band"));
  const status = el("span", { class: "glaze-faint", role: "status" });
  const message = el("p", { class: "glaze-message" });
  const notes = el("p", { class: "glaze-message", role: "note", hidden: true });
  const canvas = el("div", { class: "glaze-canvas" });
  const list = el(
    "div",
    {
      class: "glaze-list glaze-scrolls",
      role: "listbox",
      tabindex: "0",
      "aria-label": say("gallery.label"),
      "data-capture-wheel": "true", // Nodes 2.0: once it has the focus, the wheel is its own
    },
    canvas,
    message,
  );
  const element = guard(
    el(
      "section",
      { class: "glaze glaze-gallery", "aria-label": say("gallery.label") },
      el("div", { class: "glaze-row" }, search, status),
      el("div", { class: "glaze-row" }, genre, order, band),
      notes,
      list,
    ),
  );
  const id = `glaze-${Math.random().toString(36).slice(2, 9)}`;

  let styles = null; // what the bank holds; null where that is not known
  let ranking = [];
  let chosenLast = null;
  let all = [];
  let shown = [];
  let value = AUTO;
  let active = 0; // index into "auto" and then `shown`
  let locked = false;
  let trouble = null;
  let made = new Map(); // index -> the option in view, kept while the list stays the same

  // --- what there is -----------------------------------------------------------------------------

  function renewAll() {
    all = joinRanking(styles, ranking);
    const ranked = ranking.length > 0;
    order.disabled = !ranked;
    bandOnly.disabled = !ranked;
    if (!ranked) bandOnly.checked = false;
    order.value = ranked && order.dataset.touched !== "yes" ? "distance" : order.value;
    const genres = [...new Set(all.map((style) => style.genre).filter(Boolean))].sort();
    const kept = genres.includes(genre.value) ? genre.value : "";
    genre.replaceChildren(
      el("option", { value: "" }, say("gallery.genres")),
      ...genres.map((name) => el("option", { value: name }, name)),
    );
    genre.value = kept;
    renew();
  }
  order.addEventListener("change", () => {
    order.dataset.touched = "yes";
  });

  function renew() {
    shown = filterStyles(all, { search: search.value, genre: genre.value, bandOnly: bandOnly.checked });
    shown.sort(order.value === "distance" ? byDistance : byName);
    status.textContent = all.length
      ? say("gallery.count", { shown: shown.length, total: all.length })
      : "";
    message.textContent = wordsForEmpty();
    message.hidden = !message.textContent;
    made = new Map();
    active = 1 + shown.findIndex((style) => style.name === value);
    list.scrollTop = 0;
    render(); // gives the canvas its height, so that there is somewhere to scroll to
    if (active > 0) moveTo(active);
    else reveal(1 + shown.findIndex((style) => style.name === chosenLast));
  }

  function wordsForEmpty() {
    if (locked) return say("gallery.wired");
    if (trouble) return trouble;
    if (!all.length) return say("gallery.unknown");
    if (!shown.length) return say("gallery.empty");
    if (value !== AUTO && !all.some((style) => style.name === value))
      return say("gallery.absent", { name: value });
    return "";
  }

  // --- where it lies -----------------------------------------------------------------------------

  const shape = () => SHAPES[all.some((style) => style.thumbnail) ? "tiles" : "rows"];

  function grid() {
    const room = Math.max(1, list.clientWidth - GAP * 2);
    const { width, height } = shape();
    const columns = width === Infinity ? 1 : Math.max(1, Math.floor((room + GAP) / (width + GAP)));
    return { columns, width: (room - GAP * (columns - 1)) / columns, height };
  }

  /** The box of an option in the list, in pixels. */
  function boxOf(index, { columns, width, height }) {
    if (index === 0) return { x: GAP, y: GAP, w: columns * (width + GAP) - GAP, h: AUTO_HEIGHT };
    const [row, column] = [Math.floor((index - 1) / columns), (index - 1) % columns];
    return {
      x: GAP + column * (width + GAP),
      y: GAP + AUTO_HEIGHT + GAP + row * (height + GAP),
      w: width,
      h: height,
    };
  }

  /** Scroll an option into view, below "auto", which stays at the top. */
  function reveal(index) {
    if (index === 0) return;
    const { y, h } = boxOf(index, grid());
    const covered = AUTO_HEIGHT + 2 * GAP;
    if (y - covered < list.scrollTop) list.scrollTop = y - covered;
    else if (y + h + GAP > list.scrollTop + list.clientHeight)
      list.scrollTop = y + h + GAP - list.clientHeight;
  }

  /** Only the options in view exist; the canvas has the height of all of them. */
  function render() {
    const cells = grid();
    const last = boxOf(shown.length, cells);
    canvas.style.height = `${last.y + last.h + GAP}px`;
    canvas.hidden = locked;
    const [top, bottom] = [list.scrollTop - 200, list.scrollTop + list.clientHeight + 200];
    const stride = cells.height + GAP;
    const start = Math.max(1, 1 + Math.floor((top - AUTO_HEIGHT) / stride) * cells.columns);
    const kept = new Map();
    const keep = (index) => kept.set(index, place(made.get(index) ?? option(index), index, cells));
    keep(0);
    for (let index = start; index <= shown.length && boxOf(index, cells).y <= bottom; index++)
      keep(index);
    made = kept;
    canvas.replaceChildren(...kept.values());
    list.setAttribute("aria-activedescendant", `${id}-${active}`);
  }

  function place(item, index, cells) {
    const { x, y, w, h } = boxOf(index, cells);
    Object.assign(item.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
    item.setAttribute("aria-selected", String((index ? shown[index - 1].name : AUTO) === value));
    item.classList.toggle("glaze-active", index === active);
    return item;
  }

  function option(index) {
    const style = index === 0 ? null : shown[index - 1];
    const looks = style ? (shape() === SHAPES.tiles ? "glaze-tile" : "glaze-line") : "glaze-auto";
    const item = el("div", {
      id: `${id}-${index}`,
      class: `glaze-option ${looks}`,
      role: "option",
      "aria-posinset": index + 1,
      "aria-setsize": shown.length + 1,
      click: () => {
        active = index;
        choose(style ? style.name : AUTO);
      },
    });
    if (style) furnish(item, style);
    else
      item.append(
        el("b", {}, say("gallery.auto")),
        el(
          "span",
          { class: "glaze-faint" },
          chosenLast ? say("gallery.auto.chose", { name: chosenLast }) : say("gallery.auto.text"),
        ),
      );
    return item;
  }

  function furnish(item, style) {
    const about = [style.artist, style.genre].filter(Boolean).join(" · ");
    const tips = [style.name, about];
    const marks = el("span", { class: "glaze-marks" });
    if (style.name === chosenLast)
      marks.append(el("span", { class: "glaze-mark glaze-chosen" }, say("gallery.chosen")));
    if (style.in_band) marks.append(el("span", { class: "glaze-mark" }, say("gallery.inband")));
    let far = null;
    if (style.distance !== undefined && style.distance !== null) {
      const percentile = style.percentile ?? 0;
      tips.push(say("gallery.distance", { distance: style.distance.toPrecision(3), percentile: Math.round(percentile) }));
      far = el("span", { class: "glaze-far", "aria-hidden": "true" }, el("i", { style: `left:${percentile}%` }));
    }
    item.title = tips.filter(Boolean).join("\n");
    const words = el("span", { class: "glaze-words" }, el("b", {}, style.name), el("span", { class: "glaze-faint" }, about));
    if (item.classList.contains("glaze-tile")) {
      const picture = el("span", { class: "glaze-thumb" }, el("span", { "aria-hidden": "true" }, initials(style.name)));
      if (style.thumbnail)
        picture.append(
          el("img", { src: thumbnailOf(style.name), alt: "", loading: "lazy", draggable: "false", error: (event) => event.target.remove() }),
        );
      picture.append(marks);
      item.append(picture, words);
    } else item.append(words, marks);
    if (far) item.append(far);
  }

  // --- what a person does ------------------------------------------------------------------------

  function choose(name) {
    if (locked) return;
    value = name;
    message.textContent = wordsForEmpty();
    message.hidden = !message.textContent;
    render();
    onChoose(name);
  }

  function moveTo(index) {
    active = Math.min(shown.length, Math.max(0, index));
    reveal(active);
    render();
  }

  /** The option above or below; "auto" takes a row of its own. */
  function vertical(by, columns) {
    if (active === 0) return by > 0 ? 1 : 0;
    return active + by < 1 ? (by === -columns ? 0 : 1) : active + by;
  }

  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { columns, height } = grid();
    const page = columns * Math.max(1, Math.floor(list.clientHeight / (height + GAP)));
    const steps = {
      ArrowRight: () => moveTo(active + 1),
      ArrowLeft: () => moveTo(active - 1),
      ArrowDown: () => moveTo(vertical(columns, columns)),
      ArrowUp: () => (active === 0 ? search.focus() : moveTo(vertical(-columns, columns))),
      PageDown: () => moveTo(active + page),
      PageUp: () => moveTo(active - page),
      Home: () => moveTo(0),
      End: () => moveTo(shown.length),
      Enter: () => choose(active === 0 ? AUTO : shown[active - 1].name),
      " ": () => choose(active === 0 ? AUTO : shown[active - 1].name),
      Escape: () => search.focus(),
    };
    if (steps[event.key]) steps[event.key]();
    else if (event.key.length === 1) {
      search.focus(); // a letter goes on with the search
      search.value += event.key;
      renew();
    } else return;
    event.preventDefault();
  });

  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") {
      list.focus();
      moveTo(search.value && shown.length ? 1 : active);
    } else if (event.key === "Enter") {
      if (search.value && shown.length) choose(shown[0].name);
    } else if (event.key === "Escape" && search.value) {
      search.value = "";
      renew();
    } else return;
    event.preventDefault();
  });

  let frame = 0;
  list.addEventListener("scroll", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(render);
  });
  new ResizeObserver(() => moveTo(active)).observe(list);

  return {
    element,
    /** The styles of the wired bank: [{name, genre, artist, thumbnail}], or null if not known. */
    setStyles(list) {
      trouble = null;
      styles = list;
      renewAll();
    },
    /** What the last run measured: [{name, genre, artist, distance, percentile, in_band}], [name]. */
    setRanking(entries, chosen) {
      ranking = entries;
      chosenLast = chosen[0] ?? null;
      renewAll();
    },
    /** Sentences about the last choice. */
    setNotes(sentences) {
      notes.textContent = sentences.join(" ");
      notes.hidden = !notes.textContent;
    },
    /** The value of the node's own widget. */
    setValue(name) {
      if (name === value) return;
      value = name;
      renew();
    },
    /** True where the style comes in through a wire, so that nothing can be chosen here. */
    setLocked(isLocked) {
      if (isLocked === locked) return;
      locked = isLocked;
      element.classList.toggle("glaze-locked", locked);
      renew();
    },
    /** Say that the styles are on their way, or why they cannot be had. */
    setTrouble(text) {
      trouble = text;
      renew();
    },
  };
}

/** Up to two letters to stand for a style without a thumbnail. */
function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  return words.slice(0, 2).map((word) => word[0].toUpperCase()).join("");
}
