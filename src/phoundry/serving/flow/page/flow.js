"use strict";
// The page of a served flow. Text is only ever set as text: an answer is never read as HTML.

const turns = document.getElementById("turns");
const form = document.getElementById("form");
const fields = document.getElementById("fields");
const send = document.getElementById("send");
const stop = document.getElementById("stop");
const clear = document.getElementById("clear");
const IMAGE = /^data:(image\/(?:png|jpeg|gif|webp|bmp));(base64|url|path)$/;
let about = null;
let history = [];
let running = null;

function bubble(kind, text) {
  const made = document.createElement("article");
  made.className = kind;
  made.textContent = text;
  turns.append(made);
  made.scrollIntoView({ block: "end" });
  return made;
}

function image(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return null;
  const [key, ...others] = Object.keys(value);
  const match = key && !others.length ? IMAGE.exec(key) : null;
  if (!match || match[2] !== "base64") return null;
  const made = document.createElement("img");
  made.src = `data:${match[1]};base64,${value[key]}`;
  return made;
}

function show(element, value) {
  element.textContent = "";
  const parts = Array.isArray(value) ? value : [value];
  if (parts.some((part) => image(part))) {
    for (const part of parts) element.append(image(part) || String(part));
  } else {
    element.textContent = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  }
}

// One label with what fits the input's type; `read` gives its value, or undefined when left empty.
function field(input, chat) {
  const label = document.createElement("label");
  const title = document.createElement("span");
  title.textContent = input.description ? `${input.name}: ${input.description}` : input.name;
  label.append(title);
  let control;
  if (input.type === "bool") {
    control = document.createElement("input");
    control.type = "checkbox";
    control.checked = input.default === true;
  } else if (input.type === "image") {
    control = document.createElement("input");
    control.type = "file";
    control.accept = "image/*";
  } else if (input.type === "int" || input.type === "double") {
    control = document.createElement("input");
    control.type = "number";
    control.step = input.type === "int" ? "1" : "any";
  } else {
    control = document.createElement("textarea");
    control.rows = chat ? 2 : 1;
  }
  if (input.default !== null && input.type !== "bool" && input.type !== "image") {
    control.value = typeof input.default === "string" ? input.default : JSON.stringify(input.default);
  }
  control.name = input.name;
  if (chat) {
    control.required = true;
    control.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
  }
  label.append(control);
  fields.append(label);
  return control;
}

function dataOf(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",", 2)[1]);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function read(input, control) {
  if (input.type === "bool") return control.checked;
  if (input.type === "image") {
    const file = control.files[0];
    return file ? { [`data:${file.type};base64`]: await dataOf(file) } : undefined;
  }
  if (control.value === "") return input.default === null && input.type === "string" ? "" : undefined;
  if (input.type === "string") return control.value;
  try {
    return JSON.parse(control.value);
  } catch {
    return control.value; // the flow says what it makes of it
  }
}

// The outputs of one request; `onPiece` gets the streamed output's text as it comes.
async function ask(inputs, onPiece, signal) {
  const answer = await fetch("score", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream, application/json" },
    body: JSON.stringify(inputs),
    signal,
  });
  if (!(answer.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error ? body.error.message : answer.statusText);
    return body;
  }
  const outputs = {};
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return outputs;
    held += value;
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) {
      const found = JSON.parse(event.replace(/^data: /, ""));
      if (found.error && !about.outputs.includes("error")) throw new Error(found.error.message);
      for (const [name, piece] of Object.entries(found)) {
        // An output comes in pieces or whole, and never both.
        const before = typeof outputs[name] === "string" ? outputs[name] : "";
        outputs[name] = typeof piece === "string" ? before + piece : piece;
        if (typeof piece === "string") onPiece(name, outputs[name]);
      }
    }
  }
}

// DAG flows remember inputs and outputs, the others messages as OpenAI has them.
function remember(inputs, outputs) {
  const { input, output, history: name } = about.chat;
  if (about.kind === "dag") {
    const { [name]: before, ...kept } = inputs;
    history.push({ inputs: kept, outputs });
  } else {
    history.push({ role: "user", content: inputs[input] });
    history.push({ role: "assistant", content: outputs[output] });
  }
}

async function turn(controls) {
  const inputs = {};
  for (const [input, control] of controls) {
    const value = await read(input, control);
    if (value !== undefined) inputs[input.name] = value;
  }
  const chat = about.chat;
  if (chat) {
    show(bubble("question", ""), inputs[chat.input]);
    if (chat.history) inputs[chat.history] = history;
    for (const [input, control] of controls) if (input.name === chat.input) control.value = "";
  } else {
    turns.textContent = "";
  }
  const target = bubble("answer", "…");
  running = new AbortController();
  send.disabled = true;
  stop.hidden = false;
  try {
    const onPiece = (name, text) => {
      if (!chat || name === chat.output) target.textContent = text;
    };
    let outputs = await ask(inputs, onPiece, running.signal);
    const plain = outputs === null || typeof outputs !== "object" || Array.isArray(outputs);
    if (chat && plain) outputs = { [chat.output]: outputs };
    show(target, chat ? outputs[chat.output] : outputs);
    if (chat) {
      remember(inputs, outputs);
      clear.hidden = false;
    }
  } catch (error) {
    target.classList.add("error");
    target.textContent = error.name === "AbortError" ? "Stopped." : error.message;
  } finally {
    send.disabled = false;
    stop.hidden = true;
  }
}

async function begin() {
  const answer = await fetch("page.json");
  about = await answer.json();
  document.title = about.name;
  document.getElementById("name").textContent = about.name;
  const asked = about.inputs.filter((input) => !about.chat || input.name !== about.chat.history);
  // What is typed most stands last, beside the button.
  asked.sort((one, other) => isChat(one) - isChat(other));
  const controls = asked.map((input) => [input, field(input, isChat(input))]);
  send.textContent = about.chat ? "Send" : "Run";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!send.disabled) turn(controls);
  });
  stop.addEventListener("click", () => running && running.abort());
  clear.addEventListener("click", () => {
    history = [];
    turns.textContent = "";
    clear.hidden = true;
  });
}

function isChat(input) {
  return Number(Boolean(about.chat && input.name === about.chat.input));
}

begin().catch((error) => bubble("answer error", error.message));
