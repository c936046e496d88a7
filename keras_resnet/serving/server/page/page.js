"use strict";
// A picture -> its best classes (predict_bytes), and where the network saw the chosen one (explain_bytes).

const $ = (id) => document.getElementById(id);
const REASONS = {
  empty: "The file is empty",
  unknown_format: "This file is no picture that the model reads",
  too_large: "This picture has too many pixels for the model",
  undecodable: "This picture is damaged and cannot be read",
};
const newer = "Where the network saw a class is not in this export: export the model again with this version of keras_resnet.";
let turn = 0; // what is answered after a newer choice is dropped
let shown = null; // {content, name, explained} of the picture on the page

class Mistake extends Error {}

async function ask(path, body) {
  let response, answer;
  try {
    response = await fetch(path, body && { method: "POST", body: JSON.stringify(body) });
    answer = await response.json();
  } catch (error) {
    throw new Mistake("The server does not answer: see whether it still runs, then try again.");
  }
  if (!response.ok) throw new Mistake(`The server refused this: ${answer.error}`);
  return answer;
}

const path = () => `/v1/models/${encodeURIComponent($("model").value)}`;
const run = async (signature, inputs) =>
  (await ask(`${path()}:predict`, { signature_name: signature, inputs })).outputs;
const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Mistake("The browser cannot read this file: choose it again."));
    reader.readAsDataURL(file);
  });
}

function fail(error) {
  if (!(error instanceof Mistake)) console.error(error);
  $("error").textContent = error instanceof Mistake ? error.message : `This page has failed: ${error.message}`;
  $("error").hidden = false;
  $("status").textContent = "";
  $("result").removeAttribute("aria-busy");
}

// Runs `work`, unless something newer has begun by then; `still()` tells it.
async function begin(status, work) {
  const mine = ++turn;
  $("error").hidden = true;
  $("status").textContent = status;
  $("result").setAttribute("aria-busy", "true");
  try {
    await work(() => mine === turn);
    if (mine === turn) $("result").removeAttribute("aria-busy");
  } catch (error) {
    if (mine === turn) fail(error);
  }
}

// --- a picture

function classify(file) {
  return begin(`Reading ${file.name} …`, async (still) => {
    const content = file.size ? await base64(file) : "";
    const found = await run("predict_bytes", { image_bytes: [{ b64: content }] });
    if (!still()) return;
    if (!found.valid[0]) {
      $("result").hidden = true;
      const hint = found.reason[0] === "unknown_format" ? ": choose a JPEG or PNG file" : "";
      throw new Mistake(`${file.name}: ${REASONS[found.reason[0]] || found.reason[0]}${hint}.`);
    }
    shown = { content, file };
    $("name").textContent = file.name;
    list(found.classes[0], found.scores[0], found.indices[0]);
    $("result").hidden = false;
    await look(still);
    if (still()) $("status").textContent = `Best class: ${found.classes[0][0]}, ${percent(found.scores[0][0])}.`;
  });
}

function list(classes, scores, indices) {
  $("legend").textContent = classes.length > 1 ? `The ${classes.length} best classes` : "The best class";
  $("classes").replaceChildren(...classes.map((name, i) => {
    const row = document.createElement("label");
    row.className = "class";
    const choice = Object.assign(document.createElement("input"), { type: "radio", name: "class", value: indices[i], checked: !i });
    const words = Object.assign(document.createElement("span"), { className: "label", textContent: name });
    const share = Object.assign(document.createElement("span"), { className: "share", textContent: percent(scores[i]) });
    const track = Object.assign(document.createElement("span"), { className: "track" });
    const bar = track.appendChild(document.createElement("span"));
    bar.style.width = `${100 * scores[i]}%`;
    choice.addEventListener("change", () =>
      begin(`Looking for ${name} …`, async (still) => {
        await look(still);
        if (still()) $("status").textContent = shown.heat ? `Heat map of ${name}.` : "";
      }));
    row.append(choice, words, share, track);
    return row;
  }));
}

// --- where the network saw it

async function look(still) {
  const choice = document.querySelector("[name=class]:checked");
  const metadata = await ask(`${path()}/metadata`);
  const can = "explain_bytes" in metadata.metadata.signature_def.signature_def;
  if (!can) {
    const image = await pixels(shown.file);
    if (!still()) return;
    shown.picture = image;
    shown.heat = null;
    $("caption").textContent = "";
  } else {
    const found = await run("explain_bytes", { image_bytes: [{ b64: shown.content }], class_index: [Number(choice.value)] });
    const bytes = Uint8Array.from(atob(found.picture_bytes[0].b64), (letter) => letter.charCodeAt(0));
    const image = await pixels(new Blob([bytes], { type: "image/png" }));
    if (!still()) return;
    shown.picture = image;
    shown.heat = found.heat[0];
    $("caption").textContent = shown.heat.flat().some((value) => value > 0)
      ? `Red: what speaks most for ${found.classes[0]} (${percent(found.scores[0])}). The picture is cut as the network reads it.`
      : `Nothing in this picture speaks for ${found.classes[0]} (${percent(found.scores[0])}).`;
  }
  $("hint-heat").textContent = can ? "Choose a class to see where the network saw it." : newer;
  $("opacity-row").hidden = !can;
  draw();
}

async function pixels(blob) {
  try {
    return await createImageBitmap(blob);
  } catch {
    return null; // a picture that the server reads and the browser does not
  }
}

function draw() {
  const canvas = $("picture"), { picture, heat } = shown, name = shown.file.name;
  canvas.setAttribute("aria-label", heat ? `${name}. ${$("caption").textContent}` : name);
  const scale = picture ? 448 / Math.min(picture.width, picture.height) : 1;
  canvas.width = picture ? Math.round(picture.width * scale) : 448;
  canvas.height = picture ? Math.round(picture.height * scale) : 448;
  const context = canvas.getContext("2d");
  if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (!heat) return;
  const layer = new OffscreenCanvas(canvas.width, canvas.height);
  layer.getContext("2d").putImageData(coloured(heat, canvas.width, canvas.height), 0, 0);
  context.globalAlpha = $("opacity").value / 100;
  context.drawImage(layer, 0, 0);
}

// The heat, enlarged bilinearly, from dark blue (none) to dark red (the picture's most).
function coloured(heat, width, height) {
  const image = new ImageData(width, height), rows = heat.length, columns = heat[0].length;
  const most = Math.max(1e-12, ...heat.flat());
  const near = (i, size, count) => {
    const at = Math.min(count - 1, Math.max(0, ((i + 0.5) * count) / size - 0.5)), first = Math.floor(at);
    return [first, Math.min(count - 1, first + 1), at - first];
  };
  const ramp = (value, centre) => 255 * Math.min(1, Math.max(0, 1.5 - Math.abs(4 * value - centre)));
  for (let y = 0; y < height; y++) {
    const [up, down, v] = near(y, height, rows);
    for (let x = 0; x < width; x++) {
      const [left, right, u] = near(x, width, columns);
      const above = heat[up][left] * (1 - u) + heat[up][right] * u;
      const below = heat[down][left] * (1 - u) + heat[down][right] * u;
      const value = (above * (1 - v) + below * v) / most;
      image.data.set([ramp(value, 3), ramp(value, 2), ramp(value, 1), 255], 4 * (y * width + x));
    }
  }
  return image;
}

// --- the page

async function start() {
  const models = (await ask("/v2/repository/index", {})).filter((model) => model.state === "READY");
  const names = [...new Set(models.map((model) => model.name))];
  $("model").replaceChildren(...names.map((name) => new Option(name, name)));
  $("model").addEventListener("change", () => shown && classify(shown.file));
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    $("file").value = ""; // the same file can be chosen again
    if (file) classify(file);
  });
  $("opacity").addEventListener("input", draw);
  const over = (on) => (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", on);
  };
  addEventListener("dragover", over(true));
  addEventListener("dragleave", over(false));
  addEventListener("drop", (event) => {
    over(false)(event);
    const [file] = event.dataTransfer.files;
    if (file) classify(file);
  });
  document.body.dataset.ready = "";
}

start().catch(fail);
