// The panel of faults: order one, see what still waits, take all back.

import { address, callName } from "./phone.js";
import { order } from "./simulator.js";

/** What faults strike, and what an order may say of whom: what is not known there is refused. */
const GROUPS = [
  { strikes: "send", label: "A send", knows: ["pnid", "to"] },
  { strikes: "webhook", label: "A webhook", knows: ["pnid", "to"] },
  { strikes: "connection", label: "A connection", knows: [] },
  { strikes: "account", label: "The number or its account", knows: ["pnid"] },
];

/** What a waiting fault has beside the fields of its own. */
const COMMON = ["fault", "times", "pnid", "to", "nth"];

export class Faults {
  #catalogue = [];
  #users = [];
  #waiting = [];

  /** `chosenNumber()` names the business number that is shown; `complain(error)` says what was refused. */
  constructor(chosenNumber, complain) {
    this.form = document.getElementById("order");
    this.fault = document.getElementById("fault");
    this.fields = document.getElementById("fields");
    this.times = document.getElementById("times");
    this.victim = document.getElementById("victim");
    this.list = document.getElementById("waiting");
    this.allWell = document.getElementById("all-well");
    this.clear = document.getElementById("clear");
    this.fault.addEventListener("change", () => this.#showFields());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      order("faults", this.#written(chosenNumber())).then((answer) => this.show(answer.faults)).catch(complain);
    });
    this.clear.addEventListener("click", () => {
      order("faults", undefined, "DELETE").then((answer) => this.show(answer.faults)).catch(complain);
    });
  }

  /** Reads what can be ordered. */
  async load() {
    const response = await fetch("/__sim/page/faults.json");
    this.#catalogue = await response.json();
    this.fault.replaceChildren(...GROUPS.map((group) => this.#options(group)));
    this.#showFields();
    this.show(this.#waiting);
  }

  /** Shows for whom a fault can be ordered. */
  setUsers(users) {
    this.#users = users;
    const chosen = this.victim.value;
    this.victim.replaceChildren(option("", "Everyone"), ...users.map((user) => option(address(user), callName(user))));
    this.victim.value = users.some((user) => address(user) === chosen) ? chosen : "";
  }

  /** Shows what still waits. */
  show(waiting) {
    this.#waiting = waiting;
    this.list.replaceChildren(...waiting.map((fault) => this.#line(fault)));
    this.allWell.hidden = waiting.length > 0;
    this.clear.hidden = waiting.length === 0;
  }

  #written(pnid) {
    const written = { fault: this.fault.value, times: this.times.valueAsNumber };
    const { knows } = this.#groupOf(this.fault.value);
    if (knows.includes("pnid")) written.pnid = pnid;
    if (knows.includes("to") && this.victim.value) written.to = this.victim.value;
    for (const input of this.fields.querySelectorAll("input")) {
      written[input.name] = input.type === "number" ? input.valueAsNumber : input.value;
    }
    return written;
  }

  #options({ strikes, label }) {
    const group = document.createElement("optgroup");
    group.label = label;
    const meant = this.#catalogue.filter((entry) => entry.strikes === strikes);
    group.append(...meant.map((entry) => option(entry.fault, entry.label)));
    return group;
  }

  #showFields() {
    const { fields } = this.#entry(this.fault.value);
    this.fields.replaceChildren(...fields.map(field));
    this.fields.hidden = fields.length === 0;
    this.victim.disabled = !this.#groupOf(this.fault.value).knows.includes("to");
  }

  #line(fault) {
    const line = document.createElement("li");
    const what = document.createElement("span");
    const times = document.createElement("span");
    what.textContent = [this.#entry(fault.fault).label, this.#details(fault), this.#victimOf(fault)].filter(Boolean).join(" · ");
    times.className = "times";
    times.textContent = this.#timesOf(fault);
    line.append(what, times);
    return line;
  }

  /** What holds for a time is not counted. */
  #timesOf(fault) {
    if (this.#groupOf(fault.fault).strikes === "account") return "";
    return fault.times === null ? "until cleared" : `× ${fault.times}`;
  }

  #details(fault) {
    const says = ([name, value]) => !COMMON.includes(name) && value !== null && value !== false;
    const own = Object.entries(fault).filter(says);
    return own.map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  }

  #victimOf(fault) {
    const user = this.#users.find((user) => address(user) === fault.to);
    return user ? `for ${callName(user)}` : fault.to && `for ${fault.to}`;
  }

  /** What is ordered elsewhere need not be in the catalogue. */
  #entry(name) {
    return this.#catalogue.find((entry) => entry.fault === name) ?? { label: name, fields: [] };
  }

  #groupOf(name) {
    return GROUPS.find(({ strikes }) => strikes === this.#entry(name).strikes) ?? GROUPS[0];
  }
}

function field({ name, label, value }) {
  const element = document.createElement("div");
  const words = document.createElement("label");
  const input = document.createElement("input");
  input.id = `field-${name}`;
  input.name = name;
  input.type = typeof value === "number" ? "number" : "text";
  input.required = input.type === "number";
  input.value = value;
  words.htmlFor = input.id;
  words.textContent = label;
  element.append(words, input);
  return element;
}

function option(value, label) {
  const element = document.createElement("option");
  element.value = value;
  element.textContent = label;
  return element;
}
