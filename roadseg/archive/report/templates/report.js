"use strict";

// The list of clips: searched, put in order, and shown some at a time.

const AT_ONCE = 60;
const EVENTS_SHOWN = 8;

const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const value = new Map([...data.digits].map((digit, i) => [digit, i / 63]));

/** 83.25 -> "1:23". */
function clock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function element(kind, text, parent, name = "") {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  if (name) made.className = name;
  parent?.append(made);
  return made;
}

/** A link that plays a clip from a second on; plain text where there is nothing to play. */
function link(clip, seconds, text, parent, name = "") {
  const made = element(clip.video ? "a" : "span", text, parent, name);
  if (clip.video) {
    made.href = `${clip.video}#t=${Math.max(seconds, 0).toFixed(1)}`;
    made.target = "_blank";
    made.rel = "noopener";
  }
  return made;
}

/** The shares of the classes over a clip's time, the largest at the bottom. */
function draw(canvas, clip) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  for (let bin = 0; bin < data.bins; bin++) {
    let top = height;
    const from = Math.round((bin * width) / data.bins);
    const to = Math.round(((bin + 1) * width) / data.bins);
    for (const [number, bar] of Object.entries(clip.bars)) {
      const part = value.get(bar[bin]) * height;
      context.fillStyle = data.classes[number].colour;
      context.fillRect(from, top - part, to - from, part);
      top -= part;
    }
  }
}

function mean(bar) {
  return [...bar].reduce((sum, digit) => sum + value.get(digit), 0) / bar.length;
}

function inWords(clip) {
  const shares = Object.entries(clip.bars).map(([number, bar]) => [data.classes[number].name, mean(bar)]);
  shares.sort((a, b) => b[1] - a[1]);
  return shares.slice(0, 5).map(([name, share]) => `${name} ${Math.round(100 * share)}%`).join(", ");
}

function bars(clip, parent) {
  const bar = link(clip, 0, "", parent, "bar");
  const canvas = element("canvas", "", bar);
  canvas.width = 2 * 240;
  canvas.height = 2 * 26;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${clip.name}: ${inWords(clip)}`);
  draw(canvas, clip);
  const hand = element("span", "", bar);
  hand.hidden = true;
  // The link above leads to the same clip: no second stop for the keyboard.
  if (clip.video) bar.tabIndex = -1;
  bar.addEventListener("pointermove", (move) => {
    const box = bar.getBoundingClientRect();
    const part = Math.min(Math.max((move.clientX - box.left) / box.width, 0), 1);
    const seconds = part * (clip.duration ?? 0);
    hand.hidden = false;
    hand.style.left = `${100 * part}%`;
    hand.textContent = part < 0.8 ? clock(seconds) : "";
    if (clip.video) bar.href = `${clip.video}#t=${seconds.toFixed(1)}`;
  });
  bar.addEventListener("pointerleave", () => { hand.hidden = true; });
}

function events(clip, parent, wanted) {
  const some = (clip.events ?? []).filter(([number]) => wanted === "" || number === Number(wanted));
  if (!some.length) return;
  const list = element("ul", "", parent, "events");
  list.setAttribute("aria-label", `Events of ${clip.name}`);
  const add = (each) => {
    const [number, from, to] = each;
    const item = element("li", "", list);
    const made = link(clip, from - 1, `${data.events[number]} ${clock(from)}`, item);
    made.title = `${clock(from)} to ${clock(to)}`;
    return made;
  };
  some.slice(0, EVENTS_SHOWN).forEach(add);
  if (some.length <= EVENTS_SHOWN) return;
  const item = element("li", "", list);
  const more = element("button", `${some.length - EVENTS_SHOWN} more`, item);
  more.type = "button";
  more.addEventListener("click", () => {
    item.remove();
    const made = some.slice(EVENTS_SHOWN).map(add);
    made[0].focus();
  });
}

function card(clip, wanted) {
  const item = element("li", "");
  const first = (clip.events ?? []).find(([number]) => wanted === "" || number === Number(wanted));
  const shot = link(clip, wanted === "" || !first ? 0 : first[1] - 1, "", item, "shot");
  if (clip.picture) {
    const picture = element("img", "", shot);
    picture.loading = "lazy";
    picture.decoding = "async";
    picture.src = clip.picture;
    picture.alt = clip.video ? `Play ${clip.name}` : clip.name;
  } else {
    element("span", clip.video ? `Play ${clip.name}` : "no picture", shot);
  }
  if (clip.bars) bars(clip, item);
  element("h3", clip.name, item);
  const facts = [clock(clip.duration ?? 0), `${(clip.frames ?? 0).toLocaleString("en")} frames`];
  if (clip.way) facts.push(clip.way);
  if (clip.lost) facts.push(`${clip.lost.toLocaleString("en")} lost`);
  if (clip.files) facts.push(`a drive of ${clip.files} files`);
  element("p", facts.join(" · "), item, "facts");
  events(clip, item, wanted);
  if (clip.notes) {
    const details = element("details", "", item);
    element("summary", clip.notes.length === 1 ? "1 warning" : `${clip.notes.length} warnings`, details);
    for (const note of clip.notes) element("p", note, details);
  }
  return item;
}

const list = by("list");
const more = by("more");
let found = [];
let shown = 0;
let wanted = "";

const ORDERS = {
  name: (clip) => clip.name,
  "-events": (clip) => -count(clip),
  "-duration": (clip) => -(clip.duration ?? 0),
  "-lost": (clip) => -(clip.lost ?? 0),
};

/** Events of the kind that is asked for. */
function count(clip) {
  return (clip.events ?? []).filter(([number]) => wanted === "" || number === Number(wanted)).length;
}

function key(order) {
  if (ORDERS[order]) return ORDERS[order];
  const number = data.classes.findIndex((each) => `share ${each.name}` === order);
  return (clip) => (clip.bars?.[number] ? -mean(clip.bars[number]) : 1);
}

function search() {
  const words = by("name").value.toLowerCase().split(/\s+/).filter(Boolean);
  wanted = by("event")?.value ?? "";
  found = data.clips.filter((clip) => {
    const text = `${clip.name} ${clip.file}`.toLowerCase();
    return words.every((word) => text.includes(word)) && (wanted === "" || count(clip)) && (!by("noted").checked || clip.notes);
  });
  const of = key(by("order").value);
  const keyed = found.map((clip) => [of(clip), clip]);
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  keyed.sort((a, b) => (typeof a[0] === "string" ? compare(a[0], b[0]) : a[0] - b[0]));
  found = keyed.map(([, clip]) => clip);
  const events = wanted === "" ? "" : `, ${found.reduce((sum, clip) => sum + count(clip), 0).toLocaleString("en")} events`;
  by("count").textContent = `${found.length.toLocaleString("en")} of ${data.clips.length.toLocaleString("en")} clips${events}`;
  list.replaceChildren();
  shown = 0;
  show();
}

function show() {
  const some = found.slice(shown, shown + AT_ONCE).map((clip) => card(clip, wanted));
  list.append(...some);
  shown += some.length;
  more.hidden = shown >= found.length;
  return some;
}

let waiting = 0;
by("search").addEventListener("submit", (submit) => submit.preventDefault());
by("search").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(search, 120);
});
more.addEventListener("click", () => {
  // The keyboard goes on with the first clip that is new.
  show()[0]?.querySelector("a, button, summary")?.focus();
});
// Whoever scrolls need not ask.
new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting) && !more.hidden) show();
}, { rootMargin: "600px" }).observe(more);
search();
