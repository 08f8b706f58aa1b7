// One request to the flow.

const LOST = "The server can't be reached. Is it still running? Then send again.";
const BROKEN = "The connection ended before the answer was complete.";

// The outputs; `onPiece(name, text)` gets pieces of those that stream, as they come. `reserved` are
// the names of the outputs: an output may be called `error` too.
export async function ask(inputs, reserved, onPiece, signal) {
  const answer = await fetch("score", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream, application/json" },
    body: JSON.stringify(inputs),
    signal,
  }).catch((error) => { throw told(error, LOST); });
  const kind = answer.headers.get("Content-Type") || "";
  if (!kind.startsWith("text/event-stream")) return whole(answer);
  const outputs = {};
  const take = (found) => {
    if (found.error && !reserved.includes("error")) throw new Error(found.error.message);
    for (const [name, piece] of Object.entries(found)) {
      // An output comes in pieces or whole, and never both.
      const text = typeof piece === "string";
      outputs[name] = text ? (outputs[name] || "") + piece : piece;
      if (text) onPiece(name, piece);
    }
  };
  await events(answer, take);
  return outputs;
}

async function whole(answer) {
  const text = await answer.text().catch((error) => { throw told(error, BROKEN); });
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Error(`The server answered ${answer.status} ${answer.statusText}, and no JSON.`);
  }
  if (!answer.ok) throw new Error(body.error ? body.error.message : text);
  return body;
}

async function events(answer, take) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => { throw told(error, BROKEN); });
    if (done) return;
    held += value;
    const found = held.split("\n\n");
    held = found.pop();
    for (const event of found) take(JSON.parse(event.replace(/^data: /, "")));
  }
}

// A stop stays one; what a browser says of a network is of no help.
function told(error, message) {
  return error.name === "AbortError" ? error : new Error(message);
}
