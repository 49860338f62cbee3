// The page: what the simulator tells, on the phones that show it.

import { VirtualClock, moment } from "./clock.js";
import { Faults } from "./faults.js";
import { Phone, address } from "./phone.js";
import { listen, order } from "./simulator.js";

const clock = new VirtualClock();
const phones = new Map();
/** Messages and windows by number and user, so that another number can be chosen. */
const conversations = new Map();
const windows = new Map();
let users = new Map();
/** Customers whom only this page knows, until they write. */
const guests = new Map();

const page = Object.fromEntries(
  ["connection", "number", "number-choice", "now", "rate", "hour", "day", "problem", "no-app", "phones", "another", "another-number"]
    .map((id) => [id, document.getElementById(id)]),
);
const faults = new Faults(() => page.number.value, complain);

const told = {
  snapshot(picture) {
    conversations.clear();
    windows.clear();
    users = new Map(picture.users.map((user) => [user.id, user]));
    for (const { pnid, user, messages } of picture.conversations) {
      // What the world says of a user is newer than the last message.
      if (!users.has(user.id)) users.set(user.id, user);
      conversations.set(key(pnid, user.id), new Map(messages.map((message) => [message.wamid, message])));
    }
    for (const window of picture.windows) keepWindow(window);
    page["no-app"].hidden = picture.apps > 0;
    showNumbers(picture.numbers);
    told.clock(picture.clock);
    told.faults(picture);
    showAll();
  },
  message({ pnid, user, message }) {
    const isNew = !users.has(user.id);
    users.set(user.id, user);
    keepMessage(pnid, user.id, message);
    if (isNew) showAll();
    if (isShown(pnid)) phones.get(user.id)?.showMessage(message);
  },
  status({ pnid, user, message }) {
    keepMessage(pnid, user, message);
    if (isShown(pnid)) phones.get(user)?.showMessage(message);
  },
  window(window) {
    keepWindow(window);
    if (isShown(window.pnid)) phones.get(window.user)?.showWindow(window.closes_at_ms);
    tick();
  },
  clock(told) {
    clock.set(told);
    tick();
  },
  faults({ faults: waiting }) {
    faults.show(waiting);
  },
};

function keepMessage(pnid, user, message) {
  const at = key(pnid, user);
  if (!conversations.has(at)) conversations.set(at, new Map());
  const messages = conversations.get(at);
  messages.set(message.wamid, message);
  if (messages.size > MAX_MESSAGES) messages.delete(messages.keys().next().value);
}

function keepWindow({ pnid, user, closes_at_ms: closesAtMs }) {
  windows.set(key(pnid, user), closesAtMs);
}

/** Gives every customer a phone, and takes away those of whom nothing is left. */
function showAll() {
  adoptGuests();
  const everybody = new Map([...users, ...guests]);
  for (const [id, phone] of phones) {
    if (!everybody.has(id)) {
      phone.element.remove();
      phones.delete(id);
    }
  }
  for (const [id, user] of everybody) {
    const phone = phones.get(id) ?? pickUp(id, user);
    phone.setUser(user);
    phone.showConversation([...(conversations.get(key(page.number.value, id))?.values() ?? [])]);
    phone.showWindow(windows.get(key(page.number.value, id)) ?? null);
  }
  faults.setUsers([...everybody.values()]);
  tick();
}

/** A guest who has written is a user with an id, at the same phone. */
function adoptGuests() {
  for (const [id, user] of users) {
    const phone = phones.get(guestId(user.phone));
    if (!guests.delete(guestId(user.phone)) || !phone) continue;
    phones.delete(guestId(user.phone));
    phones.set(id, phone);
  }
}

function pickUp(id, user) {
  const phone = new Phone(user, {
    write: (text) => order("inbound", { pnid: page.number.value, user: address(phone.user), text }),
    setOnline: (online) => order(`user/${encodeURIComponent(address(phone.user))}`, { online }),
  });
  phones.set(id, phone);
  page.another.before(phone.element);
  return phone;
}

function showNumbers(numbers) {
  const chosen = page.number.value;
  page.number.replaceChildren(...numbers.map(({ id, display }) => new Option(`+${display}`, id)));
  page.number.value = numbers.some(({ id }) => id === chosen) ? chosen : (numbers[0]?.id ?? "");
  page.number.disabled = numbers.length < 2;
}

function tick() {
  const nowMs = clock.nowMs();
  page.now.textContent = moment(nowMs);
  page.now.dateTime = new Date(nowMs).toISOString();
  page.rate.hidden = clock.rate === 1;
  page.rate.textContent = clock.rate === 0 ? "stands still" : `${clock.rate} × as fast`;
  for (const phone of phones.values()) phone.tick(nowMs);
}

function connected(isConnected) {
  page.connection.dataset.state = isConnected ? "live" : "lost";
  page.connection.textContent = isConnected ? "Live" : "Connecting again…";
}

function complain(error) {
  page.problem.textContent = error.message;
  page.problem.hidden = false;
}

async function advance(hours) {
  page.problem.hidden = true;
  await order("clock", { advance_ms: hours * 3_600_000 }).then((answer) => {
    told.clock({ now_ms: answer.now_ms, rate: clock.rate });
  }).catch(complain);
}

function addGuest(event) {
  event.preventDefault();
  const input = page["another-number"];
  const complaint = page.another.querySelector(".complaint");
  const digits = input.value.replace(/[\s+()-]/g, "");
  complaint.hidden = PHONE.test(digits);
  if (!complaint.hidden) {
    complaint.textContent = "A phone number has 7 to 15 digits, with the country code.";
    return;
  }
  input.value = "";
  const known = [...users.values()].find((user) => user.phone === digits);
  if (!known) guests.set(guestId(digits), { id: guestId(digits), phone: digits, name: null, online: true, blocked: false });
  showAll();
  phones.get(known?.id ?? guestId(digits)).element.querySelector("input").focus();
}

function isShown(pnid) {
  return pnid === page.number.value;
}

function key(pnid, user) {
  return `${pnid} ${user}`;
}

function guestId(phone) {
  return `guest ${phone}`;
}

/** As many as the simulator keeps of one conversation. */
const MAX_MESSAGES = 200;

/** E.164, as the simulator reads it. */
const PHONE = /^\d{7,15}$/;

/** Often enough that a countdown in seconds never skips one. */
const TICK_MS = 250;

page.number.addEventListener("change", showAll);
page.hour.addEventListener("click", () => advance(1));
page.day.addEventListener("click", () => advance(24));
page.another.addEventListener("submit", addGuest);
setInterval(tick, TICK_MS);
faults.load().catch(complain);
listen(told, connected);
