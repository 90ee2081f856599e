// One camera on the page: its canvas, its state, the class under the pointer.

import { paint } from "./painter.js";
import { shares } from "./message.js";

export function percent(share) {
  return share >= 0.0995 ? `${Math.round(share * 100)}%` : `${(share * 100).toFixed(1)}%`;
}

export function clockTime(wall) {
  return new Date(wall * 1000).toLocaleTimeString([], { hourCycle: "h23" });
}

export class Tile {
  frame = null;
  status = null;
  frozen = false;
  drawn = 0;
  #gone = null;
  #look = null;
  #cross = null;
  #names = [];

  constructor(index, name) {
    this.index = index;
    this.name = name;
    this.element = document.createElement("figure");
    this.element.className = "tile";
    this.element.dataset.camera = name;
    this.element.dataset.state = "connecting";
    this.canvas = document.createElement("canvas");
    this.canvas.width = 16;
    this.canvas.height = 9;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${name}: no picture yet`);
    this.note = document.createElement("p");
    this.note.className = "note";
    this.probe = document.createElement("p");
    this.probe.className = "probe";
    this.probe.hidden = true;
    this.caption = document.createElement("figcaption");
    this.label = document.createElement("span");
    this.label.className = "name";
    this.label.textContent = name;
    this.numbers = document.createElement("span");
    this.numbers.className = "numbers";
    this.caption.append(this.label, this.numbers);
    this.element.append(this.canvas, this.note, this.probe, this.caption);
    this.canvas.addEventListener("pointermove", (event) => this.#point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => this.#hideProbe());
    this.canvas.addEventListener("keydown", (event) => this.#keys(event));
    this.canvas.addEventListener("blur", () => this.#hideProbe());
  }

  setNames(names) {
    this.#names = names;
  }

  setLarge(large) {
    this.large = large;
    this.element.classList.toggle("large", large);
    if (large) {
      this.canvas.setAttribute("tabindex", "0");
    } else {
      this.canvas.removeAttribute("tabindex");
      this.#hideProbe();
    }
    if (this.status) this.setStatus(this.status);
  }

  /** A new frame; the old one is let go of. */
  show(frame, look) {
    if (this.frozen) {
      frame.picture.close();
      return;
    }
    this.frame?.picture.close();
    this.frame = frame;
    this.drawn += 1;
    this.repaint(look);
  }

  repaint(look) {
    this.#look = look;
    if (!this.frame) return;
    // A camera beside the large one shows its overlay: two small pictures say less than one.
    const own = !this.large && look.view === "both" ? { ...look, view: "overlay" } : look;
    paint(this.canvas, this.frame, own, this.#stacked());
    this.element.style.setProperty("--ratio", this.canvas.width / this.canvas.height);
    this.canvas.dataset.number = this.frame.number;
    this.canvas.dataset.time = this.frame.time;
    if (this.#cross) this.#showProbe();
  }

  setStatus(status) {
    this.status = status;
    this.element.dataset.state = status.state;
    // Also while the next attempt is on its way: the picture is as old as before.
    const lost = status.no_picture_since !== null && (status.reason !== null || this.frame !== null);
    this.element.classList.toggle("dark", lost);
    const live = status.state === "live";
    this.numbers.textContent = live ? `${status.shown_fps.toFixed(0)} fps` : status.state;
    this.element.classList.toggle("recording", status.recording);
    this.#setNote(lost);
  }

  /** The connection is over, in words; null when it is back. */
  setGone(words) {
    this.#gone = words;
    this.#setNote(this.element.classList.contains("dark"));
  }

  #setNote(lost) {
    const status = this.status;
    let note = "";
    if (this.#gone !== null) note = this.#gone;
    else if (status === null) note = "";
    else if (lost) {
      const why = status.reason === null ? "no picture" : `lost (${status.reason})`;
      note = `${why} since ${clockTime(status.no_picture_since)}`;
    } else if (status.state === "stalled") note = `no new picture since ${clockTime(status.since)}`;
    else if (status.too_slow) note = "too late to be shown: the network is too slow here";
    else if (!this.frame) note = "connecting";
    else if (status.health.length) note = status.health.join(", ");
    if (note !== this.note.textContent) this.note.textContent = note;
  }

  /** For people who do not see it: called now and then. */
  describe(names) {
    if (!this.frame) return;
    const top = shares(this.frame, names.length)
      .map((share, id) => ({ share, id }))
      .sort((a, b) => b.share - a.share)
      .slice(0, 3)
      .filter((each) => each.share > 0)
      .map((each) => `${names[each.id]} ${percent(each.share)}`);
    const state = this.#gone ?? this.status?.state ?? "connecting";
    this.canvas.setAttribute("aria-label", `${this.name}: ${state}; ${top.join(", ")}`);
  }

  #stacked() {
    const box = this.element.parentElement?.getBoundingClientRect();
    const picture = this.frame.picture;
    return box ? box.width / picture.width < 0.45 || innerHeight > innerWidth : false;
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    this.#cross = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    this.#showProbe();
  }

  #keys(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape") this.#hideProbe();
    if (!step) return;
    event.preventDefault();
    const [x, y] = this.#cross ?? [0.5, 0.5];
    const inside = (value) => Math.min(Math.max(value, 0), 0.999);
    this.#cross = [inside(x + step[0] * 0.03), inside(y + step[1] * 0.03)];
    this.probe.setAttribute("aria-live", "polite");
    this.#showProbe();
  }

  #showProbe() {
    if (!this.frame) return;
    const [x, y] = this.#cross;
    let [u, v] = [x, y];
    if (this.large && this.#look?.view === "both") {
      if (this.canvas.height > this.frame.picture.height) v = (v * 2) % 1;
      else u = (u * 2) % 1;
    }
    const { labelWidth: w, labelHeight: h, labels } = this.frame;
    if (u < 0 || v < 0 || u >= 1 || v >= 1) return;
    const id = labels[Math.floor(v * h) * w + Math.floor(u * w)];
    const name = this.#names[id] ?? "void";
    if (this.probe.textContent !== name) this.probe.textContent = name;
    this.probe.hidden = false;
    const [left, top] = [x * this.canvas.clientWidth, y * this.canvas.clientHeight];
    this.probe.classList.toggle("left", x > 0.8);
    this.probe.style.transform = `translate(${left}px, ${top}px)`;
  }

  #hideProbe() {
    this.#cross = null;
    this.probe.hidden = true;
  }
}
