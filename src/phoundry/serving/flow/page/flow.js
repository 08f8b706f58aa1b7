// The page of a served flow: a chat where the flow is one, else a form and what came of it.

import { ask } from "./ask.js";
import { field, question } from "./fields.js";
import { Kept } from "./kept.js";
import { grow, make, show } from "./values.js";

const at = (id) => document.getElementById(id);
const [turns, form, send, stop, clear] = ["turns", "form", "send", "stop", "clear"].map(at);
const NEAR = 40; // pixels from the end that still count as the end

let running = null;

// The page stays at its end while answers grow, until somebody scrolls up; there again, it follows.
function follow() {
  const page = document.documentElement;
  let [following, last] = [true, window.scrollY];
  window.addEventListener("scroll", () => {
    if (window.scrollY < last) following = false;
    last = window.scrollY;
    if (page.scrollHeight - page.clientHeight - last < NEAR) following = true;
  });
  const toEnd = () => window.scrollTo({ top: page.scrollHeight });
  new ResizeObserver(() => following && toEnd()).observe(turns);
  form.addEventListener("submit", () => { following = true; });
}

function bubble(kind, who) {
  const made = make("article", undefined, kind);
  made.append(make("h2", who, "unseen"), make("div", undefined, "said"));
  turns.append(made);
  return { element: made, said: made.lastChild };
}

function note(target, text, kind) {
  const made = make("p", text, kind);
  if (kind === "error") made.setAttribute("role", "alert");
  target.append(made);
}

function busy(on) {
  send.hidden = on;
  stop.hidden = !on;
  turns.setAttribute("aria-busy", String(on));
}

// What `ask` gives, or null after a stop or an error, which are written into `target`.
async function attempt(inputs, names, onPiece, target) {
  const stopping = new AbortController();
  running = stopping;
  busy(true);
  target.classList.add("waiting");
  const come = (name, piece) => {
    target.classList.remove("waiting");
    onPiece(name, piece);
  };
  try {
    return { outputs: await ask(inputs, names, come, stopping.signal) };
  } catch (error) {
    if (error.name === "AbortError") note(target, "Stopped.", "hint");
    else note(target, error.message, "error");
    return null;
  } finally {
    target.classList.remove("waiting");
    if (running === stopping) {
      running = null;
      busy(false);
    }
  }
}

async function valuesOf(fields) {
  const values = {};
  for (const each of fields) {
    const value = await each.read();
    if (value !== undefined) values[each.name] = value;
  }
  return values;
}

function chat(about, fields) {
  const { input, output, history } = about.chat;
  const asked = question(about.inputs.find((each) => each.name === input), () => form.requestSubmit());
  const kept = new Kept(about);
  const draw = (kind, who, value) => show(bubble(kind, who).said, value, true);
  at("asked").append(asked.element);
  for (const [said, answer] of kept.turns) {
    draw("question", "You", said);
    draw("answer", about.name, answer);
  }
  clear.hidden = !kept.turns.length;
  clear.addEventListener("click", () => {
    if (running) running.abort();
    kept.forget();
    turns.replaceChildren();
    clear.hidden = true;
    asked.focus();
  });

  async function turn() {
    if (asked.empty()) return;
    const inputs = await valuesOf([...fields, asked]);
    const began = kept.conversation;
    draw("question", "You", inputs[input]);
    clear.hidden = false;
    if (history) inputs[history] = kept.history;
    asked.clear();
    const { element, said } = bubble("answer", about.name);
    const add = grow(said);
    const onPiece = (name, piece) => name === output && add(piece);
    const found = await attempt(inputs, about.outputs, onPiece, element);
    if (began !== kept.conversation) return; // another one has begun meanwhile
    if (found) {
      const bare = !found.outputs || typeof found.outputs !== "object" || Array.isArray(found.outputs);
      const outputs = bare ? { [output]: found.outputs } : found.outputs;
      show(said, outputs[output], true);
      kept.add(inputs, outputs);
    } else {
      asked.restore(inputs[input]);
    }
  }
  asked.focus();
  follow();
  return turn;
}

function plain(about) {
  document.body.classList.add("plain");
  form.after(turns.parentElement);
  at("hint").textContent = "Ctrl+Enter runs, Escape stops.";
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
  return async (inputs) => {
    turns.replaceChildren();
    const target = make("article", undefined, "answer");
    turns.append(target);
    const places = new Map();
    const place = (name) => {
      if (!places.has(name)) {
        const said = make("div", undefined, "said");
        target.append(make("h2", name), said);
        places.set(name, { said, add: grow(said) });
      }
      return places.get(name);
    };
    const onPiece = (name, piece) => place(name).add(piece);
    const found = await attempt(inputs, about.outputs, onPiece, target);
    if (!found) return;
    const named = found.outputs && typeof found.outputs === "object" && !Array.isArray(found.outputs);
    const outputs = named ? found.outputs : { output: found.outputs };
    for (const [name, value] of Object.entries(outputs)) show(place(name).said, value);
    if (!Object.keys(outputs).length) note(target, "The flow ended; it has no outputs.", "hint");
    turns.scrollIntoView({ block: "nearest" });
  };
}

async function begin() {
  const about = await (await fetch("page.json")).json();
  document.title = about.name;
  at("name").textContent = about.name;
  const roles = about.chat ? [about.chat.input, about.chat.history] : [];
  const inputs = about.inputs.filter((each) => !roles.includes(each.name));
  const fields = inputs.map(field);
  const others = at("others");
  const holder = about.chat ? others : at("asked");
  for (const each of fields) holder.append(each.element);
  others.hidden = !about.chat || !fields.length;
  others.open = inputs.some((each) => each.default === null);
  send.textContent = about.chat ? "Send" : "Run";
  at("hint").hidden = false;
  const turn = about.chat ? chat(about, fields) : plain(about);
  // A closed box would keep a control that lacks something from being shown.
  form.addEventListener("invalid", () => { others.open = true; }, true);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!running) await turn(about.chat ? undefined : await valuesOf(fields));
  });
  stop.addEventListener("click", () => running && running.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && running) running.abort();
  });
}

begin().catch((error) => note(turns, `The page could not begin: ${error.message}`, "error"));
