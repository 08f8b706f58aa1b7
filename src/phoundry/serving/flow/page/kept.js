// The conversation: what the flow is given as its history, and what a reload of the page brings
// back. It stays in this tab of the browser and ends with it.

export class Kept {
  constructor(about) {
    const { name, kind, chat, inputs } = about;
    // Another flow at this address, or other inputs: what is kept does not fit any more.
    this.fit = JSON.stringify([name, kind, chat, inputs.map((each) => [each.name, each.type])]);
    this.place = `phoundry:${location.pathname}`;
    this.chat = chat;
    this.dag = kind === "dag";
    this.begin();
    this.load();
  }

  begin() {
    this.conversation = {}; // stands for this one alone
    this.history = [];
    this.turns = [];
  }

  load() {
    let found = null;
    try {
      found = JSON.parse(sessionStorage.getItem(this.place));
    } catch {
      return; // no storage here, or not ours
    }
    if (found && found.fit === this.fit) {
      this.history = found.history;
      this.turns = found.turns;
    }
  }

  // DAG flows remember inputs and outputs, the others messages as OpenAI has them.
  add(inputs, outputs) {
    const { input, output, history } = this.chat;
    this.turns.push([inputs[input], outputs[output]]);
    if (this.dag) {
      const { [history]: before, ...rest } = inputs;
      this.history.push({ inputs: rest, outputs });
    } else {
      this.history.push({ role: "user", content: inputs[input] });
      this.history.push({ role: "assistant", content: outputs[output] });
    }
    this.store();
  }

  forget() {
    this.begin();
    this.store();
  }

  // Full, as after large images, or none allowed: then a reload brings back what was kept before.
  store() {
    const { fit, history, turns } = this;
    try {
      sessionStorage.setItem(this.place, JSON.stringify({ fit, history, turns }));
    } catch (error) {
      console.warn("This conversation is not kept:", error);
    }
  }
}
