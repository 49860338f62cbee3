// A customer's phone: the conversation with the chosen number, its window, and a place to type.

import { day, left, moment, time } from "./clock.js";

/** As many as the simulator keeps. */
const MAX_BUBBLES = 200;

/** Pixels: a reader who is that near the end wants to see what comes next. */
const NEAR_THE_END = 80;

export class Phone {
  #parts;
  #bubbles = new Map();
  #closesAtMs = null;
  #lastDay = "";

  /** `write(text)` and `setOnline(online)` are what the person at this phone may do. */
  constructor(user, { write, setOnline }) {
    this.element = fromTemplate("phone");
    this.#parts = parts(this.element, {
      face: ".face", name: "h2", address: ".address", presence: ".presence",
      window: ".window", windowState: ".window-state", windowLeft: ".window-left", windowUntil: ".window-until",
      conversation: ".conversation", empty: ".empty", complaint: ".complaint",
      composer: ".composer", input: ".composer input",
    });
    this.#parts.composer.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#attempt(() => this.#write(write));
    });
    this.#parts.presence.addEventListener("click", () => {
      this.#attempt(() => setOnline(!this.user.online));
    });
    this.setUser(user);
    this.showWindow(null);
  }

  setUser(user) {
    this.user = user;
    const { face, name, address: line, presence, conversation, empty, input } = this.#parts;
    const called = callName(user);
    face.textContent = called.replace(/^\+/, "").charAt(0);
    name.textContent = called;
    line.textContent = [user.name && number(user), user.online ? "" : "offline", user.blocked ? "blocked the business" : ""]
      .filter(Boolean).join(" · ");
    this.element.dataset.online = user.online;
    this.element.setAttribute("aria-label", `Phone of ${called}`);
    conversation.setAttribute("aria-label", `Conversation with ${called}`);
    empty.textContent = `No messages yet. Write as ${called}: that opens the 24-hour window, and the business may answer.`;
    input.setAttribute("aria-label", `Write as ${called}`);
    input.placeholder = `Write as ${called}`;
    presence.textContent = user.online ? "Go offline" : "Go online";
  }

  /** Shows a whole conversation, touching only what differs. */
  showConversation(messages) {
    const [first] = this.#bubbles.keys();
    if (first !== undefined && messages[0]?.wamid !== first) this.#clear();
    for (const message of messages) this.showMessage(message);
    this.#parts.empty.hidden = this.#bubbles.size > 0;
  }

  /** Shows a new message, or what has become of one. */
  showMessage(message) {
    const { conversation, empty } = this.#parts;
    const shown = this.#bubbles.get(message.wamid);
    if (shown) return fill(shown, message);
    const isAtEnd = conversation.scrollHeight - conversation.scrollTop - conversation.clientHeight < NEAR_THE_END;
    this.#startDay(message.at_ms);
    const bubble = fromTemplate("bubble");
    fill(bubble, message);
    conversation.append(bubble);
    this.#bubbles.set(message.wamid, bubble);
    this.#forgetOldest();
    empty.hidden = true;
    if (isAtEnd || message.from === "customer") conversation.scrollTop = conversation.scrollHeight;
  }

  showWindow(closesAtMs) {
    this.#closesAtMs = closesAtMs;
  }

  /** Moves the countdown on. */
  tick(nowMs) {
    const { window, windowState, windowLeft, windowUntil } = this.#parts;
    const leftMs = (this.#closesAtMs ?? 0) - nowMs;
    const isOpen = leftMs > 0;
    window.dataset.open = isOpen;
    windowState.textContent = isOpen ? "Window open for" : closedWords(this.#closesAtMs);
    windowLeft.textContent = isOpen ? left(leftMs) : "";
    windowUntil.textContent = isOpen ? `, until ${time(this.#closesAtMs)}` : "";
    window.title = isOpen ? `Open until ${moment(this.#closesAtMs)}` : "Outside the window only templates reach this customer";
  }

  async #write(write) {
    const { input } = this.#parts;
    await write(input.value);
    input.value = "";
  }

  async #attempt(action) {
    const { complaint } = this.#parts;
    complaint.hidden = true;
    try {
      await action();
    } catch (error) {
      complaint.textContent = error.message;
      complaint.hidden = false;
    }
  }

  #startDay(atMs) {
    if (day(atMs) === this.#lastDay) return;
    this.#lastDay = day(atMs);
    const line = document.createElement("p");
    line.className = "day";
    line.textContent = this.#lastDay;
    this.#parts.conversation.append(line);
  }

  #forgetOldest() {
    if (this.#bubbles.size <= MAX_BUBBLES) return;
    const [[wamid, bubble]] = this.#bubbles;
    bubble.remove();
    this.#bubbles.delete(wamid);
  }

  #clear() {
    this.#parts.conversation.replaceChildren();
    this.#bubbles.clear();
    this.#lastDay = "";
  }
}

/** As orders name a customer. */
export function address(user) {
  return user.phone ?? user.id;
}

/** What a customer is called: the name, or else the number. */
export function callName(user) {
  return user.name ?? number(user);
}

/** Every `textContent` here is on purpose: what somebody writes never becomes markup. */
function fill(bubble, message) {
  const { side, kind, text, reason, at, ticks, use, status } = parts(bubble, {
    side: ".side", kind: ".kind", text: ".text", reason: ".reason", at: "time", ticks: ".ticks", use: "use", status: ".status",
  });
  bubble.dataset.from = message.from;
  bubble.dataset.wamid = message.wamid;
  side.textContent = message.from === "customer" ? "Customer:" : "Business:";
  kind.textContent = message.type;
  kind.hidden = message.type === "text";
  text.textContent = message.text;
  text.hidden = message.text === "";
  at.dateTime = new Date(message.at_ms).toISOString();
  at.textContent = time(message.at_ms);
  at.title = moment(message.at_ms);
  if (!message.status) return;
  bubble.dataset.status = message.status;
  ticks.removeAttribute("hidden");
  use.setAttribute("href", `#tick-${message.status}`);
  status.textContent = message.status;
  if (message.error) {
    reason.textContent = `Failed · ${message.error.code} ${message.error.title}`;
    reason.title = message.error.error_data?.details ?? "";
    reason.hidden = false;
  }
}

function closedWords(closesAtMs) {
  if (closesAtMs === null) return "Window closed: templates only";
  return `Window closed since ${time(closesAtMs)}, ${day(closesAtMs)}: templates only`;
}

function number(user) {
  return user.phone ? `+${user.phone}` : user.id;
}

function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

function parts(element, selectors) {
  const found = Object.entries(selectors).map(([name, selector]) => [name, element.querySelector(selector)]);
  return Object.fromEntries(found);
}
