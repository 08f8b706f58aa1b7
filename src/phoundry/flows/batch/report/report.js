
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("lines");
  const [head, body] = [table.tHead, table.tBodies[0]];
  const filter = document.getElementById("filter");
  const failed = document.getElementById("failed");
  const more = document.getElementById("more");
  const PAGE = 200; // lines drawn at once
  const LONG = 200; // characters, about five lines of a cell
  const statuses = data.columns.flatMap((name, place) => /(^|: )status$/.test(name) ? [place] : []);
  const isFailed = (row) => statuses.some((place) => row[place] === "Failed");
  const texts = new Map(data.rows.map((row) => [row, row.join("\u0000").toLowerCase()]));
  let order = { column: 0, up: true };
  let limit = PAGE;

  // How a column looks: all of it numbers, short words, or text.
  const kinds = data.columns.map((name, place) => {
    if (/(^|: )error$/.test(name)) return "text error";
    const values = data.rows.map((row) => row[place]).filter((value) => value !== "");
    if (values.length && values.every((value) => typeof value === "number")) return "number";
    return values.every((value) => String(value).length <= 12) ? "word" : "text";
  });

  // Empty cells stand last either way.
  const compare = (a, b, sign) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
  };

  const element = (kind, text, name) => {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  };

  const shown = (value) =>
    typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(5))) : value;

  const cell = (value, place) => {
    const made = element("td", undefined, kinds[place]);
    if (typeof value !== "string" || (value.length <= LONG && value.split("\n").length <= 5)) {
      made.textContent = shown(value);
      if (made.textContent !== String(value)) made.title = value;
      return made;
    }
    const text = element("div", value);
    const button = element("button", "more");
    button.type = "button";
    button.ariaExpanded = "false";
    button.addEventListener("click", () => {
      const open = text.classList.toggle("open");
      button.textContent = open ? "less" : "more";
      button.ariaExpanded = String(open);
    });
    made.append(text, button);
    return made;
  };

  const chosen = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = data.rows.filter((row) =>
      (!failed.checked || isFailed(row)) && words.every((word) => texts.get(row).includes(word)));
    const sign = order.up ? 1 : -1;
    return rows.sort((a, b) => compare(a[order.column], b[order.column], sign) || a[0] - b[0]);
  };

  const draw = () => {
    const rows = chosen();
    body.replaceChildren(...rows.slice(0, limit).map((row) => {
      const line = element("tr", undefined, isFailed(row) ? "failed" : "");
      line.append(...row.map(cell));
      return line;
    }));
    more.hidden = rows.length <= limit;
    const all = rows.length === data.rows.length;
    document.getElementById("count").textContent =
      all ? "" : `${rows.length.toLocaleString("en")} of these found.`;
    for (const [place, title] of [...head.rows[0].cells].entries()) {
      title.ariaSort = place !== order.column ? "none" : order.up ? "ascending" : "descending";
      const mark = place !== order.column ? "" : order.up ? " \u25b2" : " \u25bc";
      title.firstChild.textContent = data.columns[place] + mark;
    }
  };

  const titles = element("tr");
  data.columns.forEach((name, place) => {
    const title = element("th", undefined, kinds[place]);
    title.scope = "col";
    const button = element("button", name);
    button.addEventListener("click", () => {
      order = { column: place, up: order.column === place ? !order.up : true };
      draw();
    });
    title.append(button);
    titles.append(title);
  });
  head.replaceChildren(titles);
  for (const input of [filter, failed]) {
    input.addEventListener("input", () => { limit = PAGE; draw(); });
  }
  more.addEventListener("click", () => { limit += 5 * PAGE; draw(); });
  draw();
})();
