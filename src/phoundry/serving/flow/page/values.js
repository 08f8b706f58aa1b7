// Values as elements. Text is only ever set as text: an answer is never read as HTML.

const IMAGE = /^data:(image\/(?:png|jpeg|gif|webp|bmp));(base64|url)$/;

export function make(kind, text, name) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

// `{"data:image/png;base64": "…"}`, as Prompt flow writes images, as an element; null for all else.
function image(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return null;
  const [key, ...others] = Object.keys(value);
  const match = key && !others.length ? IMAGE.exec(key) : null;
  if (!match || typeof value[key] !== "string") return null;
  // The page loads nothing from elsewhere: of such an image the address is shown.
  if (match[2] === "url") return make("code", value[key]);
  const made = make("img");
  made.src = `data:${match[1]};base64,${value[key]}`;
  made.alt = "Image";
  return made;
}

// Indented JSON; images in it are put into `found` and named in their places.
function json(value, found) {
  const named = (_, each) => {
    const made = image(each);
    if (!made) return each;
    found.push(made);
    return `(image ${found.length})`;
  };
  return JSON.stringify(value, named, 2);
}

// Replace what is in `element` by `value`: text, an image, text and images, or JSON. With `spoken`, a
// list of texts is what somebody says, and no JSON.
export function show(element, value, spoken = false) {
  const parts = Array.isArray(value) ? value : [value];
  const mixed = parts.every((part) => typeof part === "string" || image(part));
  if (typeof value === "string" || (mixed && (spoken || parts.some(image)))) {
    element.replaceChildren(...parts.map((part) => image(part) || make("div", part)));
    return;
  }
  const images = [];
  const text = json(value === undefined ? null : value, images);
  element.replaceChildren(make("pre", text), ...images);
}

// Text that grows: pieces are added to what is there, so that a long answer costs no more.
export function grow(element) {
  const text = document.createTextNode("");
  element.replaceChildren(text);
  return (piece) => text.appendData(piece);
}

export function imageOf(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => {
      resolve({ [`data:${file.type};base64`]: reader.result.split(",", 2)[1] });
    };
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
