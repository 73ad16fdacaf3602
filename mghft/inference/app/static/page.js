"use strict";
// One sticker at a time: its views can be edited or taken away, and the prediction follows.
const byId = (id) => document.getElementById(id);
const WAIT = 350;
const state = { key: "", model: null, image: "", name: "", first: null, views: null, last: null, asked: 0, timer: 0 };

function say(text, wrong = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("wrong", wrong);
}

async function ask(path, body) {
  const headers = {};
  if (state.key) headers.Authorization = `Bearer ${state.key}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  const answer = await response.json();
  if (response.status === 401) byId("key-row").hidden = false;
  if (!response.ok) throw new Error(answer.detail || `the service answered ${response.status}`);
  return answer;
}

async function loadModel() {
  try {
    state.model = await ask("v1/model");
    const views = state.model.describes ? "Pictures are described first." : state.model.views.length
      ? "No model describes pictures here: write views yourself, or see what the picture alone says." : "The network reads no descriptions.";
    byId("model").textContent = `${state.model.weights}, trained on ${state.model.corpus}. ${views}`;
    byId("key-row").hidden = true;
    say("");
  } catch (error) {
    byId("model").textContent = "";
    say(error.message, true);
  }
}

function take(file) {
  if (!file) return;
  const limit = state.model ? state.model.limits.request_bytes : Infinity;
  // Base64 takes a third more.
  if (file.size * 4 / 3 > limit) return say(`the file is larger than the service takes (${limit} bytes)`, true);
  const reader = new FileReader();
  reader.onload = () => {
    Object.assign(state, { image: reader.result, name: file.name || "sticker", first: null, views: null, last: null });
    byId("picture").src = state.image;
    byId("picture").alt = `The sticker ${state.name}`;
    predict();
  };
  reader.readAsDataURL(file);
}

async function predict() {
  const number = ++state.asked;
  say(state.views || !state.model?.describes ? "predicting …" : "describing and predicting …");
  const sticker = { name: state.name, image: state.image };
  if (state.views) sticker.views = state.views;
  try {
    const answer = await ask("v1/predict", { stickers: [sticker], overlay: true });
    // Only the last question counts.
    if (number !== state.asked) return;
    const found = answer.predictions[0];
    if (found.error) return say(`${state.name} cannot be read: ${found.error}`, true);
    say(found.describing_error ? `it could not be described: ${found.describing_error}` : "", Boolean(found.describing_error));
    if (!state.first) {
      state.first = { ...found.views };
      state.views = Object.fromEntries(state.model.views.map((view) => [view, found.views[view] || ""]));
      drawViews();
    }
    draw(found);
  } catch (error) {
    if (number === state.asked) say(error.message, true);
  }
}

function draw(found) {
  byId("result").hidden = false;
  byId("label").textContent = found.label;
  byId("confidence").textContent = `${(100 * found.confidence).toFixed(1)} %`;
  byId("overlay-figure").hidden = !found.overlay;
  if (found.overlay) byId("overlay").src = `data:image/png;base64,${found.overlay}`;
  const rows = Object.entries(found.probabilities).map(([label, share]) => {
    const row = document.createElement("tr");
    row.classList.toggle("first", label === found.label);
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = label;
    const meter = document.createElement("meter");
    meter.value = share;
    meter.setAttribute("aria-label", `probability of ${label}`);
    row.append(name, cell(meter), cell(percent(share)), cell(state.last ? percent(state.last[label]) : "–"));
    return row;
  });
  byId("bars").tBodies[0].replaceChildren(...rows);
  state.last = found.probabilities;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function cell(content) {
  const made = document.createElement("td");
  made.append(content);
  return made;
}

function drawViews() {
  byId("views").replaceChildren(...state.model.views.map((view) => {
    const box = document.createElement("div");
    box.className = "view";
    const head = document.createElement("div");
    head.className = "view-head";
    const title = document.createElement("label");
    title.htmlFor = `view-${view}`;
    title.textContent = view;
    const away = document.createElement("label");
    const check = document.createElement("input");
    check.type = "checkbox";
    check.id = `away-${view}`;
    away.append(check, " take it away");
    const text = document.createElement("textarea");
    text.id = `view-${view}`;
    text.maxLength = 20000;
    text.value = state.views[view] || "";
    const changed = () => {
      text.disabled = check.checked;
      state.views[view] = check.checked || !text.value.trim() ? null : text.value;
      clearTimeout(state.timer);
      state.timer = setTimeout(predict, WAIT);
    };
    check.addEventListener("change", changed);
    text.addEventListener("input", changed);
    head.append(title, away);
    box.append(head, text);
    return box;
  }));
}

function changes() {
  return state.model.views
    .filter((view) => (state.views[view] || "") !== (state.first[view] || ""))
    .map((view) => [state.name, view, state.views[view] || "", "", state.views[view] ? "edited on the page" : "taken away on the page"]);
}

function download() {
  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const rows = [["sticker", "view", "text", "by", "why"], ...changes()];
  const url = URL.createObjectURL(new Blob(["\ufeff", ...rows.map((row) => `${row.map(quoted).join(",")}\r\n`)], { type: "text/csv" }));
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: "corrections.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
  say(`${rows.length - 1} changed views in corrections.csv`);
}

byId("file").addEventListener("change", (event) => take(event.target.files[0]));
byId("key-use").addEventListener("click", () => { state.key = byId("key").value; loadModel(); });
byId("again").addEventListener("click", () => {
  state.views = Object.fromEntries(state.model.views.map((view) => [view, state.first[view] || null]));
  drawViews();
  predict();
});
byId("download").addEventListener("click", download);
document.addEventListener("paste", (event) => take([...event.clipboardData.files][0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    byId("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}
loadModel();
