"use strict";

// What the timeline says, drawn: charts over one time axis, events, and the video beside them.

const AXIS = 46; // pixels left of each chart, so that all of them and the lanes stand in line
const RIGHT = 12;
const HEIGHT = 130;
const MOST_CLASSES = 8;
const FARTHEST_M = 100; // beyond, metres of the flat-road model say little

const drawing = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** 83.25 -> "1:23.2". */
function clock(seconds, digits = 1) {
  const scale = 10 ** digits;
  const whole = Math.floor(seconds * scale + 1e-6) / scale;
  const minutes = Math.floor(whole / 60);
  const rest = (whole - minutes * 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** A path as people read it; names of files need not be UTF-8. */
function decoded(address) {
  try {
    return decodeURIComponent(address);
  } catch {
    return address;
  }
}

function element(kind, text, parent) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  parent?.append(made);
  return made;
}

const percent = { unit: "%", factor: 100, digits: 1, range: (_, __, max) => [0, Math.min(100, Math.max(1, max * 1.1))] };
const metres = { unit: "m", factor: 1, digits: 1, range: (_, __, max) => [0, Math.min(FARTHEST_M, Math.max(5, max * 1.1))] };
const doubt = { unit: "", factor: 1, digits: 3, range: (_, __, max) => [0, Math.min(1, Math.max(0.2, max * 1.1))] };
const milliseconds = { unit: "ms", factor: 1, digits: 0, range: (_, __, max) => [0, Math.max(10, max * 1.1)] };

const CHARTS = [
  { title: "Ahead, m", scale: metres, lines: [["free_m", "free road", "--good"], ["corridor_nearest_m", "nearest in the corridor", "--bad"]] },
  { title: "Road and corridor, %", scale: percent, lines: [["road_share", "road", "--accent"], ["corridor_occupied", "corridor taken", "--warn"]] },
  {
    title: "Classes, %",
    scale: percent,
    lines: drawing.shares.slice(0, MOST_CLASSES).map((each) => [each.column, each.name, each.colour]),
  },
  { title: "Doubt, 0 (sure) to 1", scale: doubt, lines: [["doubt", "doubt", "--warn"]] },
  { title: "Age of the frames, ms", scale: milliseconds, lines: [["age_ms", "age", "--dim"]] },
];

const video = by("video");
const plots = [];
let shown = [drawing.times_s[0], drawing.times_s.at(-1)];
if (shown[0] === shown[1]) shown = [shown[0] - 0.5, shown[1] + 0.5];
const all = [...shown];

/** Show what the video shows at a time, and play on from there. */
function seek(seconds) {
  if (!drawing.video) return;
  video.currentTime = Math.max(seconds, 0);
  video.play().catch(() => {}); // what cannot be played says so by itself
}

function zoom(min, max) {
  shown = [min, max];
  for (const plot of plots) plot.setScale("x", { min, max });
  drawLanes();
}

function bands(plot) {
  const { left, top, width, height } = plot.bbox;
  plot.ctx.save();
  plot.ctx.fillStyle = css("--band");
  for (const event of drawing.events) {
    const from = Math.max(plot.valToPos(event.start_s, "x", true), left);
    const to = Math.min(plot.valToPos(event.end_s, "x", true), left + width);
    if (to >= left && from <= left + width) plot.ctx.fillRect(from, top, Math.max(to - from, 2), height);
  }
  plot.ctx.restore();
}

function chart({ title, scale, lines }) {
  const known = lines.filter(([column]) => drawing.columns[column]);
  if (!known.length) return;
  const panel = element("div", "", by("charts"));
  panel.className = "chart";
  element("h2", title, panel);
  const format = (value) => (value === null ? "–" : `${value.toFixed(scale.digits)} ${scale.unit}`.trim());
  const axis = { stroke: css("--dim"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const plot = new uPlot(
    {
      width: panel.clientWidth - 20,
      height: HEIGHT,
      padding: [6, RIGHT, 0, 0],
      cursor: { sync: { key: "timeline" }, drag: { x: true, y: false, setScale: false }, points: { size: 5 } },
      legend: { live: true },
      scales: { x: { time: false, min: shown[0], max: shown[1] }, y: { range: scale.range } },
      axes: [
        { ...axis, size: 26, values: (_, ticks, __, ___, step) => ticks.map((each) => clock(each, step < 1 ? 1 : 0)) },
        { ...axis, size: AXIS, values: (_, ticks) => ticks.map((each) => String(+each.toFixed(2))) },
      ],
      series: [
        { label: "time", value: (_, value) => (value === null ? "–" : clock(value)) },
        ...known.map(([, label, colour]) => ({
          label,
          stroke: colour.startsWith("--") ? css(colour) : colour,
          width: 1.5,
          points: { show: false },
          value: (_, value) => format(value ?? null),
        })),
      ],
      hooks: {
        drawClear: [bands],
        setSelect: [
          (each) => {
            if (each.select.width > 4) {
              zoom(each.posToVal(each.select.left, "x"), each.posToVal(each.select.left + each.select.width, "x"));
            }
            each.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        setScale: [(each) => moveHead(each)],
      },
    },
    [drawing.times_s, ...known.map(([column]) => drawing.columns[column].map((v) => (v === null ? null : v * scale.factor)))],
    panel,
  );
  plot.head = element("div", "", plot.over);
  plot.head.className = "playhead";
  let pressed = 0;
  plot.over.addEventListener("mousedown", (event) => (pressed = event.clientX));
  plot.over.addEventListener("click", (event) => {
    if (Math.abs(event.clientX - pressed) < 4) seek(plot.posToVal(event.clientX - plot.over.getBoundingClientRect().left, "x"));
  });
  plot.over.addEventListener("dblclick", () => zoom(...all));
  plots.push(plot);
}

function moveHead(plot) {
  if (!plot.head) return;
  const at = video.currentTime;
  plot.head.hidden = !drawing.video || at < shown[0] || at > shown[1];
  plot.head.style.left = `${plot.valToPos(at, "x")}px`;
}

function drawLanes() {
  const lanes = by("lanes");
  lanes.replaceChildren();
  const [from, to] = shown;
  for (const name of new Set(drawing.events.map((each) => each.name))) {
    const lane = element("div", "", lanes);
    lane.className = "lane";
    element("span", name, lane).title = name;
    const bar = element("div", "", lane);
    for (const event of drawing.events.filter((each) => each.name === name && each.end_s >= from && each.start_s <= to)) {
      const button = element("button", "", bar);
      button.title = `${name}, ${clock(event.start_s)} to ${clock(event.end_s)}`;
      button.ariaLabel = button.title;
      button.style.left = `${((event.start_s - from) / (to - from)) * 100}%`;
      button.style.width = `${((event.end_s - event.start_s) / (to - from)) * 100}%`;
      button.addEventListener("click", () => seek(event.start_s));
    }
  }
}

function listEvents() {
  by("events").hidden = !drawing.events.length;
  for (const event of drawing.events) {
    const button = element("button", "", element("li", "", by("list")));
    button.type = "button";
    const picture = element(event.picture ? "img" : "div", "", button);
    if (event.picture) {
      picture.src = `data:image/jpeg;base64,${event.picture}`;
      picture.alt = "";
      picture.loading = "lazy";
    } else {
      picture.className = "none";
    }
    element("b", event.name, button);
    element("small", `${clock(event.start_s)} – ${clock(event.end_s)}`, button);
    button.addEventListener("click", () => seek(event.start_s));
    event.button = button;
  }
}

function follow() {
  plots.forEach(moveHead);
  for (const event of drawing.events) {
    const isOn = event.start_s <= video.currentTime && video.currentTime <= event.end_s;
    if (event.button.ariaCurrent !== String(isOn)) event.button.ariaCurrent = String(isOn);
  }
}

function start() {
  document.title = `${drawing.title} – timeline`;
  by("title").textContent = drawing.title;
  const events = drawing.events.length === 1 ? "1 event" : `${drawing.events.length} events`;
  by("facts").textContent = [`${drawing.rows} frames`, clock(all[1] - all[0]), events, drawing.model].filter(Boolean).join(" · ");
  for (const note of drawing.notes) element("li", note, by("notes"));
  document.documentElement.style.setProperty("--axis", `${AXIS}px`);
  document.documentElement.style.setProperty("--right", `${RIGHT}px`);
  by("player").hidden = !drawing.video;
  document.querySelector("main").classList.toggle("alone", !drawing.video && !drawing.events.length);
  if (drawing.video) {
    video.addEventListener("error", () => {
      by("trouble").hidden = false;
      by("trouble").textContent = `${decoded(drawing.video)} cannot be played: it was moved, or this browser does not know its codec.`;
    });
    video.src = drawing.video;
  }
  drawLanes();
  listEvents();
  CHARTS.forEach(chart);
  for (const what of ["timeupdate", "seeking", "loadedmetadata"]) video.addEventListener(what, follow);
  (function each() {
    if (!video.paused) follow();
    requestAnimationFrame(each);
  })();
  follow();
  addEventListener("resize", () => {
    for (const plot of plots) plot.setSize({ width: plot.root.parentElement.clientWidth - 20, height: HEIGHT });
    plots.forEach(moveHead);
  });
}

start();
