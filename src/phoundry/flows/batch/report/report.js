
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("lines");
  const [head, body] = [table.tHead, table.tBodies[0]];
  const filter = document.getElementById("filter");
  const failed = document.getElementById("failed");
  const more = document.getElementById("more");
  const PAGE = 200;
  const statuses = data.columns.flatMap((name, place) => /(^|: )status$/.test(name) ? [place] : []);
  const isFailed = (row) => statuses.some((place) => row[place] === "Failed");
  const texts = new Map(data.rows.map((row) => [row, row.join("\u0000").toLowerCase()]));
  let order = { column: 0, up: true };
  let limit = PAGE;

  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (a === "" || b === "") return (a === "") - (b === "");
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };

  const element = (kind, text) => {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const chosen = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = data.rows.filter((row) =>
      (!failed.checked || isFailed(row)) && words.every((word) => texts.get(row).includes(word)));
    const sign = order.up ? 1 : -1;
    return rows.sort((a, b) => sign * compare(a[order.column], b[order.column]) || a[0] - b[0]);
  };

  const draw = () => {
    const rows = chosen();
    body.replaceChildren(...rows.slice(0, limit).map((row) => {
      const line = element("tr");
      if (isFailed(row)) line.className = "failed";
      line.append(...row.map((value) => element("td", value)));
      return line;
    }));
    more.hidden = rows.length <= limit;
    document.getElementById("count").textContent = `${rows.length} found`;
    for (const [place, cell] of [...head.rows[0].cells].entries()) {
      cell.ariaSort = place !== order.column ? "none" : order.up ? "ascending" : "descending";
      const mark = place !== order.column ? "" : order.up ? " ▲" : " ▼";
      cell.firstChild.textContent = data.columns[place] + mark;
    }
  };

  const titles = element("tr");
  data.columns.forEach((name, place) => {
    const cell = element("th");
    const button = element("button", name);
    button.addEventListener("click", () => {
      order = { column: place, up: order.column === place ? !order.up : true };
      draw();
    });
    cell.append(button);
    titles.append(cell);
  });
  head.replaceChildren(titles);
  for (const input of [filter, failed]) {
    input.addEventListener("input", () => { limit = PAGE; draw(); });
  }
  more.addEventListener("click", () => { limit += 5 * PAGE; draw(); });
  draw();
})();
