// Tables of a report: sorted by a column, filtered by words, columns hidden. Without it they stand as written.
"use strict";
for (const scroll of document.querySelectorAll(".scroll")) {
  const table = scroll.querySelector("table");
  const heads = [...table.tHead.rows[0].cells];
  const bodies = [...table.tBodies].map((body) => [...body.rows].filter((row) => !row.classList.contains("group")));

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
  heads.slice(1).forEach((head, index) => menu.append(choice(words_of(head), index + 1)));

  const tools = document.createElement("div");
  tools.className = "tools";
  tools.append(words, menu);
  scroll.before(tools);

  // What an element says, in one line; in a part of the page that is folded, too.
  function words_of(element) {
    const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT), found = [];
    while (texts.nextNode()) found.push(texts.currentNode.data.trim());
    return found.filter(Boolean).join(" ").replace(/\s+/g, " ");
  }

  // Rows of a group stay together, and below them those that were published: of other faces, by other readers.
  function sort(head, column) {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const rows of bodies) {
      if (!rows.length) continue;
      const place = document.createComment("rows");
      rows[0].before(place);
      rows.sort((a, b) => published(a) - published(b) || compare(key(a.cells[column]), key(b.cells[column]), down));
      place.replaceWith(...rows);
    }
  }

  function published(row) {
    return Number(row.classList.contains("published"));
  }

  function key(cell) {
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const text = words_of(cell);
    const number = Number(text.split(" ")[0].replaceAll(",", "").replace("−", "-"));
    return text === "" || Number.isNaN(number) || cell.querySelector("code") ? text : number;
  }

  // What was not measured comes last, whichever way.
  function compare(a, b, down) {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    const order = typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
    return down ? -order : order;
  }

  function filter(wanted) {
    for (const row of bodies.flat()) row.hidden = !words_of(row).toLowerCase().includes(wanted);
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
