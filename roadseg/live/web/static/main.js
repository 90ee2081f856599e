// The page: joins the socket, the tiles and the controls.

import { Charts, History } from "./charts.js";
import { describe, EventList } from "./events.js";
import { Link } from "./link.js";
import { decode, shares } from "./message.js";
import { painterKind } from "./painter.js";
import { clockTime, percent, Tile } from "./tile.js";

const $ = (id) => document.getElementById(id);
// Drops that are no loss.
const ASKED_FOR = new Set(["skipped", "paused", "stopped"]);
const VIEWS = ["overlay", "mask", "both", "camera"];
const link = new Link();
const events = new EventList($("events"), $("no-events"));
const charts = new Charts($("charts"));

let hello = null;
let tiles = [];
let histories = [];
let figures = []; // of the last second, by camera: ages in seconds, frames drawn
let large = 0;
let frozen = false;
let lastStatus = null;
let gone = null; // why what is shown is not what is now, in words

// What the viewer likes, kept for the next visit.
const kept = load();
const look = {
  view: VIEWS.includes(kept.view) ? kept.view : "overlay",
  opacity: kept.opacity >= 0 && kept.opacity <= 1 ? kept.opacity : 0.5,
  palette: kept.palette ?? null,
  hidden: new Set(),
  colours: [],
};

function load() {
  try {
    return JSON.parse(localStorage.getItem("roadseg")) ?? {};
  } catch {
    return {};
  }
}

function keep() {
  const hidden = [...look.hidden].map((id) => hello?.classes[id]);
  const all = { view: look.view, opacity: look.opacity, palette: look.palette, hidden };
  try {
    localStorage.setItem("roadseg", JSON.stringify({ ...all, theme: document.documentElement.dataset.theme }));
  } catch {
    // A browser that keeps nothing shows all the same.
  }
}

// The socket.

link.addEventListener("state", ({ detail }) => {
  const words = {
    connecting: "connecting",
    connected: "connected",
    gone: "no connection, trying again",
    full: "too many viewers, trying again",
  };
  $("link").textContent = words[detail];
  $("link").dataset.state = detail;
  // Not over with the next attempt, nor with its success: the pictures are as old as before.
  if (detail === "gone" || detail === "full") leave();
});

link.addEventListener("hello", ({ detail }) => {
  if (hello && hello.page !== detail.page) {
    location.reload();
    return;
  }
  const same = hello && JSON.stringify(hello) === JSON.stringify(detail);
  hello = detail;
  if (!same) build();
  events.clear();
  for (const each of figures) each.dropped = null;
  watch();
  if (hello.can_record) listRecordings();
});

link.addEventListener("frame", async ({ detail }) => {
  let frame;
  try {
    frame = await decode(detail);
  } catch (error) {
    console.error("a frame cannot be drawn:", error);
    toast("This browser cannot draw what the server sends.");
    return;
  }
  link.send({ type: "ack", camera: frame.camera, number: frame.number });
  const tile = tiles[frame.camera];
  if (!tile) return;
  tile.show(frame, look);
  const own = figures[frame.camera];
  own.drawn += 1;
  own.bytes += frame.bytes;
  const now = link.now();
  // The last picture of a camera that gives none is shown as such, and is as old as it is.
  if (now !== null && frame.state === "live") own.ages.push(now - frame.captured);
});

link.addEventListener("status", ({ detail }) => {
  lastStatus = detail;
  detail.cameras.forEach((status, i) => {
    const before = tiles[i].status?.state;
    tiles[i].setStatus(status);
    if (before && before !== status.state) say(`${tiles[i].name}: ${status.state}`);
  });
  setGone(null);
  for (const event of detail.events) events.add(event);
  const health = detail.events.filter((event) => event.kind === "health");
  if (health.length && detail.events.length < 5) {
    say(health.map((event) => `${event.source}: ${describe(event)}`).join("; "));
  }
  measure(detail);
  showRecording();
});

link.addEventListener("error", ({ detail }) => toast(detail.message));

/** The connection is over: nothing on the page is called live until the server says so again. */
function leave() {
  if (gone !== null) return;
  setGone(lastStatus ? `no connection since ${clockTime(lastStatus.wall)}` : "no connection");
  for (const each of figures) Object.assign(each, { ages: [], drawn: 0, bytes: 0, rate: 0, age: null });
  if (!lastStatus) return;
  // A row without values: lines do not go on over the time that nothing is known of.
  for (const each of histories) each.add(lastStatus.wall + 0.001, {});
  drawFigures();
}

function setGone(words) {
  if (gone === words) return;
  gone = words;
  document.body.classList.toggle("gone", gone !== null);
  for (const tile of tiles) {
    tile.setGone(gone);
    tile.describe(hello.classes);
  }
}

/** Ask for what is seen, no larger than it is seen; nothing while the page is hidden. */
function watch() {
  if (!hello) return;
  const cameras = {};
  if (!document.hidden) {
    tiles.forEach((tile, i) => { cameras[i] = i === large ? 0 : 1; });
  }
  link.send({ type: "watch", cameras });
}

// The parts.

function build() {
  tiles.forEach((tile) => tile.element.remove());
  tiles = hello.cameras.map((name, i) => new Tile(i, name));
  histories = hello.cameras.map(() => new History());
  figures = hello.cameras.map(() => ({ ages: [], drawn: 0, bytes: 0, dropped: null, age: null }));
  for (const tile of tiles) {
    tile.setNames(hello.classes);
    tile.setGone(gone);
    tile.frozen = frozen;
    tile.element.addEventListener("click", () => { if (!tile.large) choose(tile.index); });
  }
  look.hidden = new Set((kept.hidden ?? []).map((name) => hello.classes.indexOf(name)).filter((id) => id >= 0));
  const palettes = Object.keys(hello.palettes);
  if (!palettes.includes(look.palette)) {
    look.palette = palettes.includes(hello.palette) ? hello.palette : palettes[0];
  }
  $("palette").replaceChildren(...palettes.map((name) => new Option(name, name, false, name === look.palette)));
  $("palette").parentElement.hidden = palettes.length < 2;
  $("record").hidden = $("recordings").hidden = !hello.can_record;
  const wanted = hello.cameras.indexOf(decoded(location.hash.slice(1)));
  buildClasses();
  choose(wanted >= 0 ? wanted : Math.min(large, tiles.length - 1));
  applyLook();
  document.body.dataset.painter = painterKind;
}

/** What a viewer types need not be encoded: "50%" is a name, too. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function buildClasses() {
  $("classes").replaceChildren(...hello.classes.map((name, id) => {
    const item = document.createElement("li");
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = !look.hidden.has(id);
    box.dataset.id = id;
    box.addEventListener("change", () => {
      if (box.checked) look.hidden.delete(id);
      else look.hidden.add(id);
      applyLook();
    });
    const swatch = document.createElement("i");
    const share = document.createElement("span");
    share.className = "share";
    const text = document.createElement("span");
    text.textContent = name.replaceAll("_", " ");
    label.append(box, swatch, text, share);
    item.append(label);
    return item;
  }));
}

function choose(index) {
  large = index;
  tiles.forEach((tile, i) => {
    tile.setLarge(i === index);
    const element = tile.element;
    if (i === index) {
      $("large").append(element);
      element.removeAttribute("role");
      element.removeAttribute("tabindex");
      element.removeAttribute("aria-label");
    }
  });
  const rest = tiles.filter((tile) => !tile.large);
  $("tiles").replaceChildren(...rest.map((tile) => {
    tile.element.setAttribute("role", "button");
    tile.element.setAttribute("tabindex", "0");
    tile.element.setAttribute("aria-label", `Show ${tile.name} large`);
    return tile.element;
  }));
  $("tiles").hidden = !rest.length;
  document.body.classList.toggle("alone", !rest.length);
  document.title = tiles.length > 1 ? `${tiles[index].name} - roadseg` : "roadseg";
  if (tiles.length > 1) history.replaceState(null, "", `#${encodeURIComponent(tiles[index].name)}`);
  repaint();
  watch();
  if (lastStatus) drawFigures();
  showRecording();
}

/** Show what was changed at once: the server has no part in it. */
function applyLook() {
  look.colours = hello.palettes[look.palette];
  for (const button of $("views").children) {
    const on = button.dataset.view === look.view;
    button.setAttribute("aria-checked", on);
    button.tabIndex = on ? 0 : -1;
  }
  $("opacity").value = Math.round(look.opacity * 100);
  $("opacity").disabled = look.view === "mask" || look.view === "camera";
  [...$("classes").children].forEach((item, id) => {
    item.querySelector("i").style.background = `rgb(${look.colours[id].join(" ")})`;
    item.querySelector("input").checked = !look.hidden.has(id);
  });
  repaint();
  keep();
}

function repaint() {
  for (const tile of tiles) tile.repaint(look);
}

// Figures.

function measure(status) {
  status.cameras.forEach((camera, i) => {
    const own = figures[i];
    const ages = own.ages.sort((a, b) => a - b);
    const at = (share) => (ages.length ? ages[Math.min(Math.floor(share * ages.length), ages.length - 1)] * 1000 : null);
    const dropped = Object.entries(camera.dropped)
      .reduce((sum, [cause, number]) => sum + (ASKED_FOR.has(cause) ? 0 : number), 0);
    own.age = { median: at(0.5), p95: at(0.95) };
    own.here = own.drawn;
    own.rate = own.bytes;
    const values = {
      shown: camera.shown_fps,
      camera: camera.arriving_fps,
      here: own.drawn,
      median: own.age.median,
      p95: own.age.p95,
      dropped: own.dropped === null ? null : dropped - own.dropped,
    };
    if (tiles[i].frame) {
      shares(tiles[i].frame, hello.classes.length).forEach((share, id) => { values[`class ${id}`] = share * 100; });
    }
    histories[i].add(status.wall, values);
    Object.assign(own, { ages: [], drawn: 0, bytes: 0, dropped });
    tiles[i].describe(hello.classes);
  });
  drawFigures();
}

function drawFigures() {
  const camera = lastStatus.cameras[large];
  const own = figures[large];
  if (!camera || !own) return;
  const ms = (value) => (value === null || value === undefined ? "-" : `${Math.round(value)} ms`);
  const drops = Object.entries(camera.dropped).filter(([, number]) => number);
  const why = camera.reason ? ` (${camera.reason})` : "";
  const since = camera.no_picture_since ?? camera.since;
  // What was counted stays true without a connection; what is so now is not known.
  const nowIs = (text) => (gone === null ? text : "-");
  const rows = [
    ["State", gone ?? `${camera.state}${why}${since ? ` since ${clockTime(since)}` : ""}`],
    ["Size", camera.size ? camera.size.join(" x ") : "-"],
    ["Frames a second", nowIs(`${camera.shown_fps.toFixed(1)} of ${camera.arriving_fps.toFixed(1)}`)],
    ["Age here", nowIs(`${ms(own.age?.median)}, p95 ${ms(own.age?.p95)}`)],
    ["Age of labels", nowIs(ms(camera.age_p50 === null ? null : camera.age_p50 * 1000))],
    ["Shown", `${camera.shown} of ${camera.read}`],
    ["Dropped", drops.map(([cause, number]) => `${number} ${cause}`).join(", ") || "none"],
    ["Picture", nowIs(camera.health.join(", ") || "good")],
    ...camera.readings.map(([name, value]) => [capital(name), nowIs(value)]),
    ["Connection", nowIs(`${((own.rate ?? 0) * 8 / 1e6).toFixed(1)} Mbit/s, ${painterKind}`)],
  ];
  const list = $("figures");
  if (list.children.length !== rows.length * 2) {
    list.replaceChildren(...rows.flatMap(() => [document.createElement("dt"), document.createElement("dd")]));
  }
  rows.forEach(([name, value], i) => {
    list.children[2 * i].textContent = name;
    list.children[2 * i + 1].textContent = value;
  });
  const frame = tiles[large].frame;
  if (frame) {
    const all = shares(frame, hello.classes.length);
    [...$("classes").children].forEach((item, id) => {
      const share = item.querySelector(".share");
      share.textContent = percent(all[id]);
      item.style.setProperty("--share", all[id]);
    });
  }
  charts.update(histories[large], hello.classes, look.colours);
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// Recordings.

function showRecording() {
  const on = lastStatus?.cameras[large]?.recording ?? false;
  if (String(on) !== $("record").getAttribute("aria-pressed")) {
    $("record").setAttribute("aria-pressed", on);
    $("record").textContent = on ? "Stop" : "Record";
    $("record").title = on ? "Stop recording" : "Record this camera";
    if (hello?.can_record) listRecordings();
  }
}

async function listRecordings() {
  try {
    const answer = await fetch("/recordings");
    const files = answer.ok ? await answer.json() : [];
    $("files").replaceChildren(...files.map((file) => {
      const item = document.createElement("li");
      const anchor = document.createElement("a");
      anchor.href = `/recordings/${encodeURIComponent(file.name)}`;
      anchor.download = file.name;
      anchor.textContent = file.name;
      item.append(anchor, ` ${(file.bytes / 1e6).toFixed(1)} MB`);
      return item;
    }));
  } catch {
    // The server is away; the list is asked for again when it is back.
  }
}

// The controls.

function setFrozen(on) {
  frozen = on;
  for (const tile of tiles) tile.frozen = on;
  $("freeze").setAttribute("aria-pressed", on);
  $("freeze").textContent = on ? "Go on" : "Freeze";
  document.body.classList.toggle("frozen", on);
}

function snapshot() {
  const tile = tiles[large];
  if (!tile?.frame) {
    toast("There is no picture yet.");
    return;
  }
  // Now: when the PNG is ready, later frames have been shown.
  const file = `${tile.name}-${String(tile.frame.number).padStart(6, "0")}.png`;
  tile.canvas.toBlob((blob) => {
    const anchor = document.createElement("a");
    anchor.href = URL.createObjectURL(blob);
    anchor.download = file;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
    say("The picture is saved.");
  }, "image/png");
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("large").requestFullscreen?.().catch(() => toast("This browser has no full screen."));
}

function setView(view) {
  look.view = view;
  applyLook();
}

function setOpacity(percents) {
  look.opacity = Math.min(Math.max(percents, 0), 100) / 100;
  applyLook();
}

$("views").addEventListener("click", (event) => {
  if (event.target.dataset.view) setView(event.target.dataset.view);
});
$("views").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  setView(VIEWS[(VIEWS.indexOf(look.view) + step + VIEWS.length) % VIEWS.length]);
  $("views").querySelector("[aria-checked=true]").focus();
});
$("opacity").addEventListener("input", () => setOpacity(Number($("opacity").value)));
$("palette").addEventListener("change", () => {
  look.palette = $("palette").value;
  applyLook();
  if (lastStatus) drawFigures();
});
$("freeze").addEventListener("click", () => setFrozen(!frozen));
$("snapshot").addEventListener("click", snapshot);
$("full").addEventListener("click", fullScreen);
$("record").addEventListener("click", () => {
  link.send({ type: "record", camera: large, on: $("record").getAttribute("aria-pressed") !== "true" });
});
$("all").addEventListener("click", () => {
  look.hidden.clear();
  applyLook();
});
$("none").addEventListener("click", () => {
  hello.classes.forEach((_, id) => look.hidden.add(id));
  applyLook();
});
$("tiles").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" && event.key !== " ") return;
  const tile = tiles.find((each) => each.element === event.target);
  if (!tile) return;
  event.preventDefault();
  event.stopPropagation();
  choose(tile.index);
  tile.canvas.focus();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !hello) return;
  const busy = event.target.closest("button, input, select, summary, a, [role=button]");
  if (busy && (event.key === " " || event.key === "Enter" || event.target.matches("select"))) return;
  const act = {
    " ": () => setFrozen(!frozen),
    f: () => setFrozen(!frozen),
    s: snapshot,
    v: () => setView(VIEWS[(VIEWS.indexOf(look.view) + 1) % VIEWS.length]),
    "+": () => setOpacity(look.opacity * 100 + 10),
    "-": () => setOpacity(look.opacity * 100 - 10),
    Enter: fullScreen,
  }[event.key];
  const number = Number(event.key);
  if (act) act();
  else if (number >= 1 && number <= tiles.length) choose(number - 1);
  else return;
  event.preventDefault();
});

document.addEventListener("visibilitychange", () => {
  watch();
  if (!document.hidden) link.open();
});
addEventListener("online", () => link.open());
addEventListener("resize", repaint);

// Dark and light: as the system has it, until the viewer chooses.

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  charts.reset();
  if (lastStatus) drawFigures();
}

const systemIsLight = matchMedia("(prefers-color-scheme: light)");
systemIsLight.addEventListener("change", () => theme());
$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? (systemIsLight.matches ? "light" : "dark");
  theme(now === "light" ? "dark" : "light");
  keep();
});
if (kept.theme === "dark" || kept.theme === "light") theme(kept.theme);

// Words.

function say(text) {
  $("say").textContent = text;
}

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 6000);
}

// A phone has little room: what is below the picture opens by a touch.
if (innerWidth < 720) document.querySelectorAll("aside details").forEach((each, i) => { each.open = i === 0; });
document.querySelectorAll("aside details").forEach((each) => each.addEventListener("toggle", () => {
  if (lastStatus) drawFigures();
}));

link.open();
