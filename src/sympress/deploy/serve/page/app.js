// The page of `sympress serve`. Everything that came from a note is set by textContent, never as HTML.
"use strict";

const ASSERTIONS = ["present", "absent", "possible", "hypothetical", "historical", "family"];
const MOST_DROPPED_BYTES = 4000000;
const $ = (id) => document.getElementById(id);
let answer = null;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
  const response = await fetch(path, { ...options, headers, redirect: "error" });
  const body = await response.json();
  if (response.status === 401) {
    $("key-field").hidden = false;
    $("key").focus();
  }
  if (!response.ok) throw new Error(body.error.message);
  return body;
}

async function loadModels() {
  const { models } = await ask("/v1/models");
  const options = models.map((model) => {
    const option = element("option", `${model.name} · ${model.symptoms.length} symptoms`);
    option.value = model.name;
    return option;
  });
  $("model").replaceChildren(...options);
  $("model-field").hidden = false;
}

async function extract() {
  const text = $("note").value;
  if (!text.trim()) {
    say("There is no note yet.");
    $("note").focus();
    return;
  }
  $("send").disabled = true;
  say("Reading the note…");
  try {
    if (!$("model").options.length) await loadModels();
    const began = performance.now();
    const body = JSON.stringify({ text, model: $("model").value });
    answer = await ask("/v1/extract", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    show(text, answer, performance.now() - began);
  } catch (error) {
    $("result").hidden = true;
    say(error instanceof TypeError ? "The server does not answer." : error.message, true);
  } finally {
    $("send").disabled = false;
  }
}

function show(text, { task, notes: [note] }, milliseconds) {
  if (note.failure) throw new Error(`The model has no answer: ${note.failure}.`);
  const hasSpans = task === "mentions" || note.mentions.length > 0;
  $("chips").replaceChildren(...note.symptoms.map(chip));
  if (!note.symptoms.length) $("chips").append(element("li", "No symptom is affirmed.", "none"));
  $("read").hidden = !hasSpans;
  $("no-spans").hidden = hasSpans;
  if (hasSpans) {
    $("legend").replaceChildren(...ASSERTIONS.map(legendEntry));
    $("marked").replaceChildren(...pieces(text, note.mentions));
  }
  fillTable(hasSpans ? findingRows(text, note) : symptomRows(note.symptoms), hasSpans);
  const count = hasSpans ? amount(note.mentions.length, "mention") : amount(note.symptoms.length, "symptom");
  const cut = note.truncated ? " The note is longer than the model reads: its end was left out." : "";
  say(`${count} in ${Math.round(milliseconds)} ms.${cut}`);
  $("result").hidden = false;
  $("result").focus();
}

function amount(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function percent(probability) {
  return `${(100 * probability).toFixed(probability > 0.995 && probability < 1 ? 1 : 0)} %`;
}

function chip(found) {
  const item = element("li", undefined, "chip");
  item.append(element("span", found.symptom), element("span", percent(found.probability), "number"));
  return item;
}

function legendEntry(assertion) {
  const item = element("li");
  item.append(element("mark", assertion, assertion));
  return item;
}

// Offsets count characters (code points); JavaScript's strings count UTF-16 units.
function pieces(text, mentions) {
  const characters = Array.from(text);
  const made = [];
  let at = 0;
  for (const mention of mentions) {
    if (mention.start < at) continue; // it overlaps the one before; the table lists both
    made.push(document.createTextNode(characters.slice(at, mention.start).join("")));
    const words = characters.slice(mention.start, mention.end).join("");
    const mark = element("mark", words, mention.assertion);
    mark.title = `${mention.symptom ?? "symptom"}, ${mention.assertion}, ${percent(mention.score)}`;
    mark.append(element("span", ` (${mark.title})`, "aside"));
    made.push(mark);
    at = mention.end;
  }
  made.push(document.createTextNode(characters.slice(at).join("")));
  return made;
}

function mentionRows(text, mentions) {
  const characters = Array.from(text);
  return mentions.map((found) => [
    characters.slice(found.start, found.end).join(""),
    found.symptom ?? "–",
    element("mark", found.assertion, found.assertion),
    percent(found.score),
    found.code ?? "–",
    `${found.start}–${found.end}`,
  ]);
}

// The mentions, then the symptoms that no mention calls present.
function findingRows(text, { mentions, symptoms }) {
  const spanned = new Set(mentions.filter((one) => one.assertion === "present").map((one) => one.symptom));
  const others = symptoms.filter((one) => !spanned.has(one.symptom));
  return [
    ...mentionRows(text, mentions),
    ...others.map((found) => [
      "–",
      found.symptom,
      element("mark", "present", "present"),
      percent(found.probability),
      found.code ?? "–",
      "whole note",
    ]),
  ];
}

function symptomRows(symptoms) {
  return symptoms.map((found) => [found.symptom, percent(found.probability), found.code ?? "–"]);
}

function fillTable(rows, hasSpans) {
  const names = hasSpans
    ? ["In the note", "Symptom", "Assertion", "Probability", "Code", "Characters"]
    : ["Symptom", "Probability", "Code"];
  $("caption").textContent = hasSpans ? "Every finding" : "Symptoms that the note affirms";
  $("head").replaceChildren(...names.map((name) => {
    const cell = element("th", name);
    cell.scope = "col";
    return cell;
  }));
  $("rows").replaceChildren(...rows.map((cells) => {
    const row = element("tr");
    for (const content of cells) {
      const cell = element("td");
      cell.append(content);
      row.append(cell);
    }
    return row;
  }));
  document.querySelector(".scroll").hidden = !rows.length;
}

async function copyAnswer() {
  const text = JSON.stringify(answer, null, 2);
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("The browser does not allow copying here; the page must be opened over HTTPS or on this machine.", true);
  }
}

async function takeFile(file) {
  if (file.size > MOST_DROPPED_BYTES) {
    say("The file is too large for one note.", true);
    return;
  }
  $("note").value = await file.text();
  await extract();
}

function clearAll() {
  answer = null;
  $("note").value = "";
  $("result").hidden = true;
  say("");
  $("note").focus();
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  extract();
});
$("clear").addEventListener("click", clearAll);
$("copy").addEventListener("click", copyAnswer);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    extract();
  }
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("note").classList.add("over");
});
document.addEventListener("dragleave", () => $("note").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("note").classList.remove("over");
  const [file] = event.dataTransfer.files;
  const text = event.dataTransfer.getData("text/plain");
  if (file) takeFile(file);
  else if (text) {
    $("note").value = text;
    extract();
  }
});
loadModels().catch((error) => say(error instanceof TypeError ? "The server does not answer." : error.message, true));
