// Five minutes of figures of one camera, once a second.

const SPAN = 300;
const HEIGHT = 96;
const TOP_CLASSES = 5;

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function clock(time, seconds) {
  const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (seconds) parts.second = "2-digit";
  return new Date(time * 1000).toLocaleTimeString([], parts);
}

/** A class's colour where it can be told from the panel: the road is nearly black in some palettes. */
function seen(rgb) {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  const to = dark ? 255 : 0;
  const light = (c) => (0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2]) / 255;
  let share = 0;
  const mixed = () => rgb.map((value) => Math.round(value + (to - value) * share));
  while (share < 0.8 && (dark ? light(mixed()) < 0.4 : light(mixed()) > 0.6)) share += 0.1;
  return `rgb(${mixed().join(" ")})`;
}

/** What was measured of one camera: columns by name, newest last. */
export class History {
  times = [];
  columns = {};

  add(time, values) {
    this.times.push(time);
    for (const name of Object.keys(values)) {
      this.columns[name] ??= new Array(this.times.length - 1).fill(null);
    }
    for (const [name, column] of Object.entries(this.columns)) column.push(values[name] ?? null);
    if (this.times.length > SPAN) {
      this.times.shift();
      for (const column of Object.values(this.columns)) column.shift();
    }
  }

  column(name) {
    return this.columns[name] ?? new Array(this.times.length).fill(null);
  }

  mean(name) {
    const known = this.column(name).filter((value) => value !== null);
    return known.length ? known.reduce((a, b) => a + b, 0) / known.length : 0;
  }
}

const PLAIN = [
  { title: "Frames a second", lines: [["shown", "--accent"], ["camera", "--dim"], ["here", "--good"]] },
  { title: "Age on this page, ms", lines: [["median", "--accent"], ["p95", "--warn"]] },
  { title: "Dropped a second", lines: [["dropped", "--bad"]] },
];

export class Charts {
  #element;
  #plots = [];
  #key = "";

  constructor(element) {
    this.#element = element;
  }

  /** Draw again with other colours or another width. */
  reset() {
    this.#key = "";
  }

  update(history, names, colours) {
    if (!globalThis.uPlot || !this.#element.clientWidth) return;
    const top = names
      .map((name, id) => ({ id, share: history.mean(`class ${id}`) }))
      .sort((a, b) => b.share - a.share)
      .slice(0, TOP_CLASSES)
      .map((each) => each.id)
      .sort((a, b) => a - b);
    const key = JSON.stringify([top, colours, this.#element.clientWidth]);
    if (key !== this.#key) this.#build(top, names, colours);
    this.#key = key;
    for (const { plot, columns } of this.#plots) {
      plot.setData([history.times, ...columns.map((name) => history.column(name))]);
    }
  }

  #build(top, names, colours) {
    for (const { plot } of this.#plots) plot.destroy();
    this.#element.replaceChildren();
    this.#plots = PLAIN.map(({ title, lines }) => this.#plot(
      title,
      lines.map(([name, colour]) => ({ label: name, stroke: css(colour), column: name })),
    ));
    this.#plots.push(this.#plot("Share of the picture, %", top.map((id) => ({
      label: names[id],
      stroke: seen(colours[id]),
      column: `class ${id}`,
    }))));
  }

  #plot(title, lines) {
    const box = document.createElement("div");
    box.className = "chart";
    const head = document.createElement("p");
    head.append(title);
    for (const line of lines) {
      const key = document.createElement("span");
      key.className = "key";
      key.textContent = line.label;
      key.style.setProperty("--key", line.stroke);
      head.append(key);
    }
    box.append(head);
    this.#element.append(box);
    const axis = { stroke: css("--dim"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const plot = new globalThis.uPlot({
      width: this.#element.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1) * 1.1] } },
      axes: [
        { ...axis, size: 22, space: 90, grid: { show: false }, values: (_, times, _axis, _space, step) => times.map((time) => clock(time, step < 60)) },
        { ...axis, size: 44, space: 28 },
      ],
      series: [{}, ...lines.map((line) => ({ stroke: line.stroke, width: 1.5, points: { show: false } }))],
    }, [[], ...lines.map(() => [])], box);
    return { plot, columns: lines.map((line) => line.column) };
  }
}
