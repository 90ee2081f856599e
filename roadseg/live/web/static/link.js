// The socket: comes back by itself, and knows how far the server's clock is from ours.

const ROUND_TRIPS = 4;
const MEASURE_AGAIN_MS = 60_000;
const FIRST_RETRY_MS = 300;
const MOST_RETRY_MS = 5_000;

export class Link extends EventTarget {
  #socket = null;
  #retry = FIRST_RETRY_MS;
  #trips = [];
  #timer = 0;
  #retryTimer = 0;
  /** Server's clock minus ours, in seconds; null until measured. */
  offset = null;
  roundTrip = null;

  open() {
    clearTimeout(this.#retryTimer);
    if (this.#socket && this.#socket.readyState <= WebSocket.OPEN) return;
    this.#say("state", "connecting");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#retry = FIRST_RETRY_MS;
      this.offset = null;
      this.measure();
      this.#say("state", "connected");
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

  #read(data) {
    if (typeof data !== "string") {
      this.#say("frame", data);
      return;
    }
    const message = JSON.parse(data);
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
