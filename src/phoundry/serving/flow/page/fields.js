// What stands for the flow's inputs: a label and a control each, and the value in it.

import { imageOf, make } from "./values.js";

const IMAGES = "image/png,image/jpeg,image/gif,image/webp,image/bmp";

function control(input) {
  const kind = { bool: "checkbox", image: "file", int: "number", double: "number" }[input.type];
  const made = make(kind ? "input" : "textarea");
  if (kind) made.type = kind;
  else made.rows = 1;
  if (kind === "number") made.step = input.type === "int" ? "1" : "any";
  if (kind === "file") made.accept = IMAGES;
  if (kind === "checkbox") made.checked = input.default === true;
  return made;
}

// A default stands in its control; emptied, the default holds, and is told there.
function fill(made, input) {
  const given = input.default;
  if (given === null) {
    made.required = !["string", "bool"].includes(input.type);
  } else if (!["checkbox", "file"].includes(made.type)) {
    made.value = typeof given === "string" ? given : JSON.stringify(given);
    made.placeholder = made.value;
  }
}

function check(made, input) {
  if (!["list", "object"].includes(input.type)) return;
  const open = input.type === "list" ? "[" : "{";
  made.addEventListener("input", () => {
    let fault = "";
    try {
      const found = made.value.trim() ? JSON.parse(made.value) : null;
      const kind = Array.isArray(found) ? "list" : typeof found;
      if (found !== null && kind !== input.type) fault = `This is no ${input.type}: begin with ${open}`;
    } catch (error) {
      fault = `This is no JSON: ${error.message}`;
    }
    made.setCustomValidity(fault);
  });
}

// `{element, read}` of an input; `read` gives its value, or undefined where nothing is sent.
export function field(input) {
  const label = make("label");
  label.append(make("span", input.name, "title"));
  if (input.description) label.append(make("span", ` ${input.description}`, "hint"));
  const made = control(input);
  made.name = input.name;
  fill(made, input);
  check(made, input);
  label.append(made);
  if (made.type === "checkbox") label.className = "check";
  const read = async () => {
    if (made.type === "checkbox") return made.checked;
    if (made.type === "file") return made.files[0] && imageOf(made.files[0]);
    if (made.value === "") return input.default === null ? "" : undefined;
    return ["string", "image"].includes(input.type) ? made.value : parsed(made.value);
  };
  return { name: input.name, element: label, read };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text; // an input of a kind that the page does not know: the flow says what it takes
  }
}

// The question of a chat. Where the flow takes a list, images go with the text.
export function question(input, submit) {
  const made = make("textarea");
  made.name = input.name;
  made.rows = 1;
  made.placeholder = input.description || "Message";
  made.setAttribute("aria-label", input.name);
  made.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
  });
  const element = make("div");
  element.append(made);
  const files = input.type === "list" ? make("input") : null;
  if (files) {
    Object.assign(files, { type: "file", accept: IMAGES, multiple: true, ariaLabel: "Images" });
    element.append(files);
  }
  const chosen = () => (files ? [...files.files] : []);
  return {
    name: input.name,
    element,
    empty: () => !made.value.trim() && !chosen().length,
    focus: () => made.focus(),
    read: async () => {
      if (!files) return input.type === "string" ? made.value : parsed(made.value);
      const found = parsed(made.value);
      if (Array.isArray(found)) return found;
      const images = await Promise.all(chosen().map(imageOf));
      return made.value.trim() ? [made.value, ...images] : images;
    },
    clear: () => {
      made.value = "";
      if (files) files.value = "";
    },
    // Back where it was, unless something new has been written meanwhile.
    restore: (value) => {
      if (!made.value && typeof value === "string") made.value = value;
    },
  };
}
