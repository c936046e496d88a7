// What a served network finds in a picture, a recording or a text: its classes (predict_bytes, predict_text), and where it
// saw the chosen one (explain_bytes); boxes; a class for each pixel; or how a text goes on (generate).

import { $, ask, base64, bytes, Mistake, path, percent, pixels, run, signatures } from "./asking.js";
import { colour, drawBoxes, painted } from "./areas.js";
import { coloured } from "./heat.js";

const REASONS = {
  empty: "The $ is empty",
  unknown_format: "This file is no $ that the model reads", // $: what the model takes
  too_large: "This picture has too many pixels for the model",
  undecodable: "This file is damaged and cannot be read",
  unsupported_encoding: "This wav is neither of whole numbers of 8 to 32 bits nor of floats",
  other_rate: "This wav says that it has fewer than 1,000 or more than 384,000 samples a second",
  too_long: "This recording is too long for the model",
  not_finite: "This wav holds samples that are no finite numbers",
};
const newer = "Where the network saw a class is not in this export: export the model again with this version of keras_resnet.";
const PICTURE = { takes: "picture", title: "What is in this picture?", choose: "Choose a picture", files: "JPEG or PNG", accept: "image/*" };
const KINDS = { // what a model takes and gives, by its signatures
  classes: { ...PICTURE, find: classify },
  boxes: { ...PICTURE, title: "What is where in this picture?", find: locate },
  mask: { ...PICTURE, title: "What is each part of this picture?", find: divide },
  sound: { takes: "recording", title: "What was said?", choose: "Choose a recording", files: "wav", accept: ".wav,audio/wav", find: hear },
  text: { takes: "text", title: "What is this text about?", label: "A text", send: "Read it", find: read },
  story: { title: "How does this text go on?", label: "A beginning", send: "Go on", find: tell },
};
let kind = null;
let turn = 0; // what is answered after a newer choice is dropped
let shown = null; // {content, file, picture, heat | boxes | mask} of the picture on the page
let file = null; // that was chosen last

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

function checked(found, name) {
  if (found.valid[0]) return;
  $("result").hidden = true;
  const hint = found.reason[0] === "unknown_format" ? `: choose a ${kind.files} file` : "";
  const reason = (REASONS[found.reason[0]] || found.reason[0]).replace("$", kind.takes);
  throw new Mistake(`${name}: ${reason}${hint}.`);
}

// Shows the parts of the result that an answer has.
function lay(name, ...parts) {
  $("name").textContent = name;
  for (const id of ["picture", "sound", "opacity-row", "story"]) $(id).hidden = !parts.includes(id);
  document.querySelector("figure").hidden = !parts.includes("picture") && !parts.includes("sound");
  document.querySelector(".columns").hidden = parts.includes("story");
  document.querySelector(".columns").classList.toggle("wide", kind === KINDS.boxes || kind === KINDS.mask);
  for (const id of ["caption", "hint-heat"]) $(id).textContent = "";
  $("result").hidden = false;
}

const send = async (name) => run("predict_bytes", { [name]: [{ b64: file.size ? await base64(file) : "" }] });

// --- classes of a picture, a recording, a text

function classify() {
  const chosen = file;
  return begin(`Reading ${chosen.name} …`, async (still) => {
    const content = chosen.size ? await base64(chosen) : "";
    const found = await run("predict_bytes", { image_bytes: [{ b64: content }] });
    if (!still()) return;
    checked(found, chosen.name);
    shown = { content, file: chosen };
    lay(chosen.name, "picture");
    list(found.classes[0], found.scores[0], found.indices[0]);
    await look(still);
    if (still()) best(found);
  });
}

function hear() {
  const chosen = file;
  return begin(`Listening to ${chosen.name} …`, async (still) => {
    const found = await send("wav_bytes");
    if (!still()) return;
    checked(found, chosen.name);
    lay(chosen.name, "sound");
    URL.revokeObjectURL($("sound").src);
    $("sound").src = URL.createObjectURL(chosen);
    bars(found);
    best(found);
  });
}

function read() {
  const text = $("text").value;
  return begin("Reading …", async (still) => {
    const found = await run("predict_text", { text: [text] });
    if (!still()) return;
    checked(found, "The text");
    lay(text.length > 80 ? `${text.slice(0, 79)}…` : text);
    bars(found);
    best(found);
  });
}

function best(found) {
  $("status").textContent = `Best class: ${found.classes[0][0]}, ${percent(found.scores[0][0])}.`;
}

const legend = (count) => (count > 1 ? `The ${count} best classes` : "The best class");

function bars(found) {
  const [names, scores] = [found.classes[0], found.scores[0]];
  $("legend").textContent = legend(names.length);
  $("classes").replaceChildren(...names.map((name, i) => row("div", name, percent(scores[i]), scores[i])));
}

// A line of the list: a name, words at its end, and a bar of a share; before it `first`, if there is one.
function row(tag, name, end, share, first = document.createElement("span")) {
  const line = document.createElement(tag);
  line.className = "class";
  const words = Object.assign(document.createElement("span"), { className: "label", textContent: name });
  const last = Object.assign(document.createElement("span"), { className: "share", textContent: end });
  const track = Object.assign(document.createElement("span"), { className: "track" });
  track.appendChild(document.createElement("span")).style.width = `${100 * share}%`;
  line.append(first, words, last, track);
  return line;
}

function swatch(index) {
  const spot = Object.assign(document.createElement("span"), { className: "swatch" });
  spot.style.background = colour(index);
  return spot;
}

function list(classes, scores, indices) {
  $("legend").textContent = legend(classes.length);
  $("classes").replaceChildren(...classes.map((name, i) => {
    const choice = Object.assign(document.createElement("input"), { type: "radio", name: "class", value: indices[i], checked: !i });
    choice.addEventListener("change", () =>
      begin(`Looking for ${name} …`, async (still) => {
        await look(still);
        if (still()) $("status").textContent = shown.heat ? `Heat map of ${name}.` : "";
      }));
    return row("label", name, percent(scores[i]), scores[i], choice);
  }));
}

// --- where the network saw it

async function look(still) {
  const choice = document.querySelector("[name=class]:checked");
  const can = "explain_bytes" in (await signatures());
  if (!can) {
    const image = await pixels(shown.file);
    if (!still()) return;
    shown.picture = image;
    shown.heat = null;
    $("caption").textContent = "";
  } else {
    const found = await run("explain_bytes", { image_bytes: [{ b64: shown.content }], class_index: [Number(choice.value)] });
    const image = await pixels(new Blob([bytes(found.picture_bytes[0].b64)], { type: "image/png" }));
    if (!still()) return;
    shown.picture = image;
    shown.heat = found.heat[0];
    $("caption").textContent = shown.heat.flat().some((value) => value > 0)
      ? `Red: what speaks most for ${found.classes[0]} (${percent(found.scores[0])}). The picture is cut as the network reads it.`
      : `Nothing in this picture speaks for ${found.classes[0]} (${percent(found.scores[0])}).`;
  }
  $("hint-heat").textContent = can ? "Choose a class to see where the network saw it." : newer;
  $("opacity-row").hidden = !can;
  $("opacity-label").textContent = "Heat map";
  draw();
}

function locate() {
  const chosen = file;
  return begin(`Looking at ${chosen.name} …`, async (still) => {
    const found = await send("image_bytes");
    if (!still()) return;
    checked(found, chosen.name);
    const image = await pixels(chosen);
    if (!still()) return;
    const count = found.count[0], names = found.classes[0].slice(0, count), known = [...new Set(names)].sort();
    const [boxes, scores] = [found.boxes[0].slice(0, count), found.scores[0].slice(0, count)];
    shown = { file: chosen, picture: image, boxes, names, scores, known };
    lay(chosen.name, "picture");
    const many = known.map((name) => names.filter((other) => other === name).length);
    $("legend").textContent = "What was found";
    $("classes").replaceChildren(
      ...known.map((name, i) => row("div", name, String(many[i]), many[i] / count, swatch(i))));
    const words = known.map((name, i) => `${many[i]} ${name}`).join(", ");
    $("status").textContent = words ? `Found: ${words}.` : "Nothing was found.";
    draw();
  });
}

function divide() {
  const chosen = file;
  return begin(`Looking at ${chosen.name} …`, async (still) => {
    const found = await send("image_bytes");
    if (!still()) return;
    checked(found, chosen.name);
    const mask = new Blob([bytes(found.mask_bytes[0].b64)], { type: "image/png" });
    const [image, numbers] = [await pixels(chosen), await createImageBitmap(mask, { colorSpaceConversion: "none" })];
    if (!still()) return;
    shown = { file: chosen, picture: image, mask: painted(numbers) };
    lay(chosen.name, "picture", "opacity-row");
    $("opacity-label").textContent = "Classes";
    const shares = found.classes[0].map((name, i) => ({ name, i, share: found.shares[0][i] }));
    const there = shares.filter(({ share }) => share > 0).sort((a, b) => b.share - a.share);
    $("legend").textContent = "Shares of the picture";
    $("classes").replaceChildren(
      ...there.map(({ name, i, share }) => row("div", name, percent(share), share, swatch(i))));
    $("status").textContent = `Most of it: ${there[0].name}, ${percent(there[0].share)}.`;
    draw();
  });
}

function draw() {
  const canvas = $("picture"), { picture, heat, boxes, mask } = shown, name = shown.file.name;
  const size = picture || mask;
  canvas.setAttribute("aria-label", heat ? `${name}. ${$("caption").textContent}` : `${name}. ${boxes || mask ? $("status").textContent : ""}`);
  if (!heat && !boxes && !mask) canvas.setAttribute("aria-label", name);
  const scale = !size ? 1 : boxes || mask ? 768 / size.width : 448 / Math.min(size.width, size.height);
  canvas.width = size ? Math.round(size.width * scale) : 448;
  canvas.height = size ? Math.round(size.height * scale) : 448;
  const context = canvas.getContext("2d");
  if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (boxes) drawBoxes(context, scale, boxes, shown.names, shown.scores, shown.known, percent);
  if (!heat && !mask) return;
  let layer = mask;
  if (heat) {
    layer = new OffscreenCanvas(canvas.width, canvas.height);
    layer.getContext("2d").putImageData(coloured(heat, canvas.width, canvas.height), 0, 0);
  }
  context.globalAlpha = $("opacity").value / 100;
  context.imageSmoothingEnabled = !mask;
  context.drawImage(layer, 0, 0, canvas.width, canvas.height);
}

// --- how a text goes on

function tell() {
  const prompt = $("text").value;
  return begin("Writing …", async (still) => {
    const number = (id) => Number($(id).value);
    const wanted = { prompt, count: number("count"), temperature: number("temperature"), seed: number("seed") };
    if (!prompt) throw new Mistake("Write how the text begins, one letter at least.");
    const text = await run("generate", wanted);
    if (!still()) return;
    lay("It goes on", "story");
    const first = Object.assign(document.createElement("strong"), { textContent: prompt });
    $("story").replaceChildren(first, typeof text === "string" ? text : text.text);
    $("status").textContent = `${wanted.count} characters.`;
  });
}

// --- the page

async function kindOf() {
  const { predict_bytes: files, predict_text: texts, generate } = await signatures();
  if (generate) return KINDS.story;
  if (texts) return KINDS.text;
  if (files && "wav_bytes" in files.inputs) return KINDS.sound;
  if (files && "boxes" in files.outputs) return KINDS.boxes;
  if (files && "mask_bytes" in files.outputs) return KINDS.mask;
  return KINDS.classes;
}

async function choose() {
  const before = kind;
  kind = await kindOf();
  document.title = $("title").textContent = kind.title;
  $("drop").hidden = !kind.files;
  $("words").hidden = !kind.label;
  $("choices").hidden = kind !== KINDS.story;
  if (kind.files) {
    $("choose").textContent = kind.choose;
    $("files").textContent = kind.files;
    $("file").accept = kind.accept;
  } else {
    $("text-label").textContent = kind.label;
    $("send").textContent = kind.send;
  }
  const same = before && before.files === kind.files; // what was chosen for the model before fits this one
  if (!same) {
    turn++;
    file = null;
    $("result").hidden = $("error").hidden = true;
    $("status").textContent = "";
  } else if (file) kind.find();
}

function take(given) {
  if (!given || !kind.files) return;
  file = given;
  kind.find();
}

async function start() {
  const models = (await ask("/v2/repository/index", {})).filter((model) => model.state === "READY");
  const names = [...new Set(models.map((model) => model.name))];
  $("model").replaceChildren(...names.map((name) => new Option(name, name)));
  $("model").addEventListener("change", () => choose().catch(fail));
  await choose();
  $("file").addEventListener("change", () => {
    const [given] = $("file").files;
    $("file").value = ""; // the same file can be chosen again
    take(given);
  });
  $("send").addEventListener("click", () => kind.find());
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) kind.find();
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
    take(event.dataTransfer.files[0]);
  });
  document.body.dataset.ready = "";
}

start().catch(fail);
