// Tables of a report: sorted by a column, filtered by words, columns hidden. Without it they stand as written.
"use strict";
for (const figure of document.querySelectorAll("figure.table")) {
  const table = figure.querySelector("table");
  const heads = [...table.tHead.rows[0].cells];
  const bodies = blocks(table.tBodies[0]);

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.title = "Sort";
    head.append(button);
    button.addEventListener("click", () => sort(head, column));
  });

  const words = document.createElement("input");
  words.type = "search";
  words.placeholder = "Filter rows";
  words.setAttribute("aria-label", "Filter rows");
  words.addEventListener("input", () => filter(words.value.trim().toLowerCase()));

  const menu = document.createElement("details");
  menu.className = "columns";
  menu.append(Object.assign(document.createElement("summary"), { textContent: "Columns" }));
  heads.slice(1).forEach((head, index) => menu.append(choice(head.innerText.replace(/\s+/g, " "), index + 1)));

  const tools = document.createElement("div");
  tools.className = "tools";
  tools.append(words, menu);
  figure.querySelector(".scroll").before(tools);

  // Rows between two headings of groups stay together.
  function blocks(body) {
    const found = [[]];
    for (const row of [...body.rows]) {
      if (row.classList.contains("group")) found.push([]);
      else found.at(-1).push(row);
    }
    return found;
  }

  function sort(head, column) {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const rows of bodies) {
      if (!rows.length) continue;
      const place = document.createComment("rows");
      rows[0].before(place);
      rows.sort((a, b) => compare(key(a.cells[column]), key(b.cells[column]), down));
      place.replaceWith(...rows);
    }
  }

  function key(cell) {
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const text = cell.innerText.trim();
    const number = Number(text.split(/\s/)[0].replaceAll(",", "").replace("−", "-"));
    return text === "" || Number.isNaN(number) ? text : number;
  }

  // What was not measured comes last, whichever way.
  function compare(a, b, down) {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    const order = typeof a === "number" ? a - b : a.localeCompare(b);
    return down ? -order : order;
  }

  function filter(wanted) {
    for (const row of bodies.flat()) row.hidden = !row.innerText.toLowerCase().includes(wanted) && wanted !== "";
  }

  function choice(name, column) {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      for (const row of [table.tHead.rows[0], ...bodies.flat()]) row.cells[column].hidden = !box.checked;
    });
    label.append(box, " " + name);
    return label;
  }
}
