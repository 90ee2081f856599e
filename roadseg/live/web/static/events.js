// The list of what happened to cameras, newest first.

import { clockTime } from "./tile.js";

const MOST = 200;

export class EventList {
  #rows = new Map();

  constructor(list, empty) {
    this.list = list;
    this.empty = empty;
  }

  clear() {
    this.#rows.clear();
    this.list.replaceChildren();
    this.empty.hidden = false;
  }

  add(event) {
    let row = this.#rows.get(event.id);
    if (!row) {
      row = document.createElement("li");
      this.#rows.set(event.id, row);
      this.list.prepend(row);
      this.empty.hidden = true;
      while (this.list.children.length > MOST) {
        const oldest = this.list.lastElementChild;
        this.#rows.delete(oldest.dataset.id);
        oldest.remove();
      }
    }
    row.dataset.id = event.id;
    row.dataset.kind = event.kind === "state" ? event.what : event.kind;
    const time = document.createElement("time");
    time.dateTime = new Date(event.time * 1000).toISOString();
    time.textContent = clockTime(event.time);
    const source = document.createElement("b");
    source.textContent = event.source;
    row.replaceChildren(time, " ", source, ` ${describe(event)}`);
    if (event.message) row.title = event.message;
  }
}

export function describe(event) {
  if (event.kind === "health" || event.kind === "road") {
    const lasted = event.lasted_s;
    return lasted === null ? event.what : `${event.what}, for ${lasted.toFixed(1)} s`;
  }
  return event.reason ? `${event.what} (${event.reason})` : event.what;
}
