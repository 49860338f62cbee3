// The virtual clock as the page keeps it between two events, and time in words.

export class VirtualClock {
  #toldMs = Date.now();
  #toldAt = performance.now();
  #rate = 1;

  /** Takes over what the simulator says. */
  set({ now_ms: nowMs, rate }) {
    this.#toldMs = nowMs;
    this.#toldAt = performance.now();
    this.#rate = rate;
  }

  get rate() {
    return this.#rate;
  }

  nowMs() {
    return this.#toldMs + (performance.now() - this.#toldAt) * this.#rate;
  }
}

/** A moment in full: `Wed 25 Nov 2026, 08:15:02`. */
export function moment(ms) {
  return `${day(ms)}, ${time(ms, true)}`;
}

/** A day: `Wed 25 Nov 2026`. */
export function day(ms) {
  const date = new Date(ms);
  return `${DAYS[date.getDay()]} ${date.getDate()} ${MONTHS[date.getMonth()]} ${date.getFullYear()}`;
}

/** The time of a day: `08:15`. */
export function time(ms, withSeconds = false) {
  const date = new Date(ms);
  const parts = [date.getHours(), date.getMinutes()];
  if (withSeconds) parts.push(date.getSeconds());
  return parts.map(twoDigits).join(":");
}

/** What is left: `23:59:42`. */
export function left(ms) {
  const seconds = Math.ceil(ms / 1000);
  return [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor).map(twoDigits).join(":");
}

function twoDigits(number) {
  return String(number).padStart(2, "0");
}

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

const MONTHS = [
  "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
