// One photograph is open at a time. Every face of it has its own edit: sliders `aus`, and `strength`, the way
// from what the photograph shows (`shown`) to them. The server is sent whole edits; one question is under way
// at a time, and what was moved meanwhile is asked at once afterwards.

const by = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const { most, largestFile, opened } = document.body.dataset;
const sliders = all(".au").sort((a, b) => a.dataset.index - b.dataset.index);
const [before, after] = ["before", "after"].map((id) => by(id).getContext("2d"));

const FACE_SHARE = 0.45; // of the frame that a face takes when it is zoomed to
const SMALL = 0.3; // of the photograph: a single face below it is zoomed to at once

let photograph = null;
let face = null; // the number of the face that is edited
let number = 0; // of the latest change
let asking = false;
let again = false;
let moved = 0; // when the latest change was made
let opening = 0;

// --- the server

async function ask(path, options = {}) {
  const answer = await fetch(path, options).catch(() => null);
  if (!answer) throw new Error("the server does not answer: is `eggan demo` still running?");
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw new Error(error ?? `the server answers ${answer.status}`);
}

function post(path, body, type) {
  return ask(path, { method: "POST", body, headers: { "Content-Type": type } });
}

const postJson = (path, value) => post(path, JSON.stringify(value), "application/json");

function postFile(path, file) {
  if (file.size > largestFile) throw new Error(`${file.name} is larger than ${largestFile / 2 ** 20} MiB: scale it down first`);
  return post(`${path}?name=${encodeURIComponent(file.name)}`, file, "application/octet-stream");
}

// --- what is said

function say(text, problem = "") {
  by("status").textContent = text;
  by("problem").textContent = problem;
}

async function attempt(doing, work) {
  say(doing);
  document.body.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    say("", error.message);
  } finally {
    document.body.removeAttribute("aria-busy");
  }
}

const sentences = (parts) => parts.filter(Boolean).map((part) => `${part}.`).join(" ");

// --- photographs

function open(name, send) {
  return attempt(`Looking for faces in ${name} …`, async () => {
    const mine = ++opening;
    const found = await (await send()).json();
    const view = await createImageBitmap(await (await ask(`/photographs/${found.id}/view`)).blob());
    if (mine !== opening) return; // another one was opened meanwhile
    photograph = { ...found, edits: found.faces.map(({ aus }) => newEdit(aus)) };
    for (const pen of [before, after]) {
      [pen.canvas.width, pen.canvas.height] = found.view;
      pen.drawImage(view, 0, 0);
    }
    by("frame").style.setProperty("--ratio", found.view[0] / found.view[1]);
    by("facts").textContent = `${found.name}, ${found.size[0]} × ${found.size[1]}`;
    by("start").hidden = true;
    by("stage").hidden = by("bar").hidden = by("panel").disabled = false;
    setSplit(0);
    placeFaces();
    const [, , width, height] = found.faces[0].box;
    const small = Math.max(width / found.view[0], height / found.view[1]) < SMALL;
    by("zoom").setAttribute("aria-pressed", found.faces.length === 1 && small);
    choose(0);
    const count = found.faces.length;
    const several = count > 1 ? `${count} faces were found, the largest is chosen; click another one to edit it` : "";
    say(sentences([`Opened ${found.name}`, several, ...found.notes]));
  });
}

const openFile = (file) => open(file.name, async () => postFile("/photographs", file));
const openExample = (button) =>
  open(button.textContent, () => post(`/examples/${button.dataset.number}/open`, "", "application/octet-stream"));

function newEdit(aus) {
  const shown = aus.map((au) => au ?? 0);
  return { shown, aus: [...shown], strength: 1, expression: null };
}

function placeFaces() {
  const [width, height] = photograph.view;
  const count = photograph.faces.length;
  by("faces").replaceChildren(
    ...photograph.faces.map(({ box }, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = index + 1;
      button.setAttribute("aria-label", `Face ${index + 1} of ${count}`);
      const place = { left: box[0] / width, top: box[1] / height, width: box[2] / width, height: box[3] / height };
      for (const [side, share] of Object.entries(place)) button.style[side] = `${100 * share}%`;
      button.addEventListener("click", () => choose(index));
      return button;
    }),
  );
  by("faces").hidden = count < 2;
}

function choose(index) {
  face = index;
  zoom();
  [...by("faces").children].forEach((button, at) => button.setAttribute("aria-pressed", at === index));
  showEdit();
}

// --- sliders

const edit = () => photograph.edits[face];

function showEdit() {
  const { shown, aus, strength, expression } = edit();
  sliders.forEach((slider, index) => {
    slider.value = aus[index];
    fill(slider, shown[index] / most, aus[index] / most, Number(aus[index].toFixed(1)));
  });
  by("strength").value = 100 * strength;
  fill(by("strength"), 0, strength, `${Math.round(100 * strength)} %`);
  all(".expression").forEach((button) => button.setAttribute("aria-pressed", button.textContent === expression));
}

function fill(slider, from, to, text) {
  slider.style.setProperty("--from", Math.min(from, to));
  slider.style.setProperty("--to", Math.max(from, to));
  slider.style.setProperty("--shown", from);
  slider.nextElementSibling.textContent = text;
}

function change(parts) {
  Object.assign(edit(), parts);
  showEdit();
  refresh();
}

function setAu(index, value) {
  const aus = edit().aus.with(index, value);
  change({ aus, expression: null });
}

function targets() {
  const wanted = photograph.edits.map(({ shown, aus, strength }) => shown.map((au, index) => au + strength * (aus[index] - au)));
  const changed = wanted.map((aus, index) => [index, aus]).filter(([index, aus]) => aus.some((au, at) => au !== photograph.edits[index].shown[at]));
  return Object.fromEntries(changed);
}

async function refresh() {
  again = true;
  moved = performance.now();
  if (asking) return;
  asking = true;
  after.canvas.setAttribute("aria-busy", "true");
  try {
    while (again) {
      again = false;
      await draw(photograph, face, moved);
    }
  } catch (error) {
    say("", error.message);
  } finally {
    asking = false;
    after.canvas.removeAttribute("aria-busy");
  }
}

async function draw(asked, index, began) {
  const answer = await postJson(`/photographs/${asked.id}/edits`, { face: index, targets: targets(), number: ++number });
  if (answer.status === 204) return;
  const picture = await createImageBitmap(await answer.blob());
  if (photograph !== asked) return;
  after.drawImage(picture, ...asked.faces[index].region.slice(0, 2));
  performance.measure("edit", { start: began });
}

function download() {
  return attempt("Editing the photograph at its own size …", async () => {
    const answer = await postJson(`/photographs/${photograph.id}/edited`, { targets: targets() });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${photograph.name.replace(/\.[^.]*$/, "")}-edited.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(`Saved ${link.download} among your downloads.`);
  });
}

function copyFrom(file) {
  return attempt(`Reading ${file.name} …`, async () => {
    const { aus, notes } = await (await postFile("/readings", file)).json();
    change({ aus: aus.map((au, index) => au ?? edit().shown[index]), strength: 1, expression: null });
    const unread = sliders.filter((_, index) => aus[index] === null).map(({ id }) => id.toUpperCase());
    say(sentences([`Copied the expression of ${file.name}`, unread.length ? `${unread.join(", ")} cannot be read there` : "", ...notes]));
  });
}

function setSplit(share) {
  by("split").value = share;
  by("split").setAttribute("aria-valuetext", `${Math.round(share)} % before`);
  by("frame").style.setProperty("--split", share / 100);
  by("frame").style.setProperty("--seen", share > 0 ? 1 : 0);
}

function zoom() {
  const [left, top, width, height] = photograph.faces[face].box;
  const [across, down] = photograph.view;
  const near = by("zoom").getAttribute("aria-pressed") === "true";
  const scale = near ? Math.max(1, FACE_SHARE * Math.min(across / width, down / height)) : 1;
  const shift = (centre) => Math.min(0, Math.max(1 - scale, 0.5 - scale * centre));
  const style = { "--zoom": scale, "--x": shift((left + width / 2) / across), "--y": shift((top + height / 2) / down) };
  for (const [name, value] of Object.entries(style)) by("frame").style.setProperty(name, value);
}

// --- what the user does

function onFile(input, work) {
  input.addEventListener("change", () => {
    if (input.files.length) work(input.files[0]);
    input.value = "";
  });
}

sliders.forEach((slider, index) => {
  slider.addEventListener("input", () => setAu(index, Number(slider.value)));
  slider.addEventListener("dblclick", () => setAu(index, edit().shown[index]));
});
all(".expression").forEach((button) =>
  button.addEventListener("click", () => {
    const aus = JSON.parse(button.dataset.aus).map((au, index) => au ?? edit().shown[index]);
    change({ aus, expression: button.textContent });
  }),
);
all(".choose").forEach((button) => button.addEventListener("click", () => by("file").click()));
all(".example").forEach((button) => button.addEventListener("click", () => openExample(button)));
by("copy").addEventListener("click", () => by("other").click());
by("strength").addEventListener("input", ({ target }) => change({ strength: target.value / 100 }));
by("split").addEventListener("input", ({ target }) => setSplit(Number(target.value)));
by("reset").addEventListener("click", () => change(newEdit(photograph.faces[face].aus)));
by("zoom").addEventListener("click", ({ target }) => {
  target.setAttribute("aria-pressed", target.getAttribute("aria-pressed") !== "true");
  zoom();
});
by("download").addEventListener("click", download);
onFile(by("file"), openFile);
onFile(by("other"), copyFrom);

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", ({ clipboardData }) => {
  if (clipboardData.files.length) openFile(clipboardData.files[0]);
});
if (opened !== undefined) openExample(all(".example")[opened]);
