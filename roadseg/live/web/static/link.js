// The socket: comes back by itself, also where the line dies without a word, and knows how far the
// server's clock is from ours.

const ROUND_TRIPS = 4;
const MEASURE_AGAIN_MS = 60_000;
const FIRST_RETRY_MS = 300;
const MOST_RETRY_MS = 5_000;

// `status` comes once a second. Browsers send no pings, so a pulled cable, or a tunnel that keeps its
// own side open, is known by silence alone.
const CONNECT_MS = 10_000;
const SILENT_MS = 5_000;
// A message counts when all of it is there: where one takes long, the next connection gets longer,
// up to what the server gives a viewer.
const MOST_SILENT_MS = 20_000;
const CALM_MS = 30_000;
const LOOK_EVERY_MS = 1_000;
// A look so late is that of a page that slept or was hidden: what it was sent may wait to be read.
const LATE_MS = 2_500;
const GRACE_MS = 2_000;

export class Link extends EventTarget {
  #socket = null;
  #retry = FIRST_RETRY_MS;
  #trips = [];
  #timer = 0;
  #retryTimer = 0;
  #patience = SILENT_MS;
  // By performance.now(): nobody sets that clock.
  #heard = 0; // the last message, or the beginning of the connection
  #slow = 0; // the last message that let us wait long
  #looked = 0;
  /** Server's clock minus ours, in seconds; null until measured. */
  offset = null;
  roundTrip = null;

  constructor() {
    super();
    setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /** Connect, unless there is a connection that answers. */
  open() {
    this.#look();
    if (this.#socket) return;
    clearTimeout(this.#retryTimer);
    this.#say("state", "connecting");
    this.#heard = this.#slow = this.#looked = performance.now();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#heard = performance.now();
      this.offset = null;
      this.measure();
    };
    socket.onmessage = (event) => this.#read(event.data);
    socket.onclose = (event) => this.#closed(event);
    this.#socket = socket;
  }

  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Four round trips; the quickest tells best. */
  measure() {
    clearTimeout(this.#timer);
    this.#trips = [];
    this.#ask();
  }

  /** Now, by the server's clock, in seconds; null until it is known. */
  now() {
    return this.offset === null ? null : performance.now() / 1000 + this.offset;
  }

  #ask(rtt) {
    this.send({ type: "clock", sent: performance.now() / 1000, ...(rtt === undefined ? {} : { rtt }) });
  }

  /** Give up a connection that has been silent for too long. */
  #look() {
    const now = performance.now();
    const late = now - this.#looked > LATE_MS;
    this.#looked = now;
    const socket = this.#socket;
    if (!socket) return;
    const wasOpen = socket.readyState !== WebSocket.CONNECTING;
    const most = wasOpen ? this.#patience : CONNECT_MS;
    if (late) {
      this.#heard = Math.max(this.#heard, now - most + GRACE_MS);
      this.measure(); // this clock may have stood still
    }
    if (now - this.#heard < most) return;
    if (wasOpen) this.#patience = Math.min(2 * this.#patience, MOST_SILENT_MS);
    // The browser would tell of the end after an answer, which a dead line does not give.
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#closed({ code: 1006 });
  }

  #read(data) {
    const now = performance.now();
    if (now - this.#heard > SILENT_MS / 2) this.#slow = now;
    if (now - this.#slow > CALM_MS) this.#patience = SILENT_MS;
    this.#heard = now;
    if (typeof data !== "string") {
      this.#say("frame", data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "hello") {
      // Only now: what accepts a connection need not be the server.
      this.#retry = FIRST_RETRY_MS;
      this.#say("state", "connected");
    }
    if (message.type === "clock") this.#answered(message);
    else this.#say(message.type, message);
  }

  #answered(message) {
    const now = performance.now() / 1000;
    const trip = now - message.sent;
    this.#trips.push({ trip, offset: message.server - (message.sent + now) / 2 });
    if (this.#trips.length < ROUND_TRIPS) {
      this.#ask();
      return;
    }
    if (this.#trips.length > ROUND_TRIPS) return; // the answer to the report below
    const best = this.#trips.reduce((one, other) => (other.trip < one.trip ? other : one));
    this.offset = best.offset;
    this.roundTrip = best.trip;
    this.#ask(best.trip);
    this.#timer = setTimeout(() => this.measure(), MEASURE_AGAIN_MS);
  }

  #closed(event) {
    this.#socket = null;
    clearTimeout(this.#timer);
    const full = event.code === 1013;
    this.#say("state", full ? "full" : "gone");
    const wait = full ? MOST_RETRY_MS : this.#retry * (0.75 + Math.random() / 2);
    this.#retry = Math.min(this.#retry * 1.7, MOST_RETRY_MS);
    this.#retryTimer = setTimeout(() => this.open(), wait);
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
