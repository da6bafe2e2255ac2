// The page of `sympress serve`. Everything that came from a note is set by textContent, never as HTML.
"use strict";

// In the order in which a clinician reads them: what is denied first.
const ASSERTIONS = {
  absent: "denied",
  present: "present",
  possible: "possible",
  hypothetical: "feared or conditional",
  historical: "in the past",
  family: "someone else's",
};
const SOURCES = { rules: "rules", model: "model", both: "rules and model" };
const EXAMPLE = `HPI: 6 yr old girl with fever and cough for 3 days, more tired than usual.
Denies headache, nausea or vomiting. No rash.
PMH: hives after penicillin in 2019.
Family history: Mother has migraine.
Plan: possible sinus pain, watch. Return if she develops shortness of breath.
`;
const MOST_DROPPED_BYTES = 4000000;
const $ = (id) => document.getElementById(id);
let answer = null;
let models = new Map();
const namesByModel = new Map();

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
  const listed = (await ask("/v1/models")).models;
  models = new Map(listed.map((model) => [model.name, model]));
  const options = listed.map((model) => {
    const option = element("option", `${model.name} · ${model.symptom_count} symptoms`);
    option.value = model.name;
    return option;
  });
  $("model").replaceChildren(...options);
  $("model-field").hidden = false;
  showCardLink();
}

// What people call the symptoms of a model: the whole list, once. Asking for those of an answer would tell every
// log on the way what is in the note.
async function namesOf(model) {
  if (!namesByModel.has(model)) {
    const found = {};
    for (let address = models.get(model)?.symptom_list; address; ) {
      const page = await ask(address);
      for (const one of page.symptoms) found[one.symptom] = one.name;
      address = page.next;
    }
    namesByModel.set(model, found);
  }
  return namesByModel.get(model);
}

function showCardLink() {
  const address = models.get($("model").value)?.card;
  $("card").hidden = !address;
  if (address) $("card").href = address;
}

// The card is fetched, not followed: a service with a key wants it in a header.
async function showCard(event) {
  event.preventDefault();
  try {
    const headers = $("key").value ? { Authorization: `Bearer ${$("key").value}` } : {};
    const response = await fetch($("card").href, { headers, redirect: "error" });
    if (!response.ok) throw new Error((await response.json()).error.message);
    $("card-text").textContent = await response.text();
    $("card-dialog").showModal();
  } catch (error) {
    say(error instanceof TypeError ? "The server does not answer." : error.message, true);
  }
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
    const milliseconds = performance.now() - began;
    show(text, answer, await namesOf(answer.model), milliseconds);
  } catch (error) {
    $("result").hidden = true;
    say(error instanceof TypeError ? "The server does not answer." : error.message, true);
  } finally {
    $("send").disabled = false;
  }
}

function show(text, { model, notes: [note] }, names, milliseconds) {
  if (note.failure) throw new Error(`The model has no answer: ${note.failure}.`);
  const points = models.get(model)?.points_at_words ?? true;
  const characters = Array.from(text); // offsets count characters; JavaScript's strings count UTF-16 units
  const findings = findingsOf(note, characters, names);
  $("groups").replaceChildren(...Object.keys(ASSERTIONS).flatMap((kind) => group(kind, findings)));
  $("no-words").hidden = !points || findings.length > 0;
  $("no-spans").hidden = points;
  $("read").hidden = !points;
  if (points) {
    $("legend").replaceChildren(...Object.keys(ASSERTIONS).map(legendEntry));
    $("marked").replaceChildren(...pieces(characters, findings));
  }
  fillTable(findings, points);
  const count = points ? amount(note.mentions.length, "mention") : amount(note.symptoms.length, "symptom");
  const markup = note.markup ? ` The note is ${note.markup.toUpperCase()}, read as text.` : "";
  const cut = note.truncated ? " The note is longer than the model reads: its end was left out." : "";
  say(`${count} in ${Math.round(milliseconds)} ms.${markup}${cut}`);
  $("result").hidden = false;
  $("result").focus();
}

// A map from what `keyOf` says of each of `all` to those of which it says so, in their order.
function groupBy(all, keyOf) {
  const groups = new Map();
  for (const one of all) {
    const key = keyOf(one);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(one);
  }
  return groups;
}

function amount(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

// Mentions by start, then the symptoms that no mention calls present; `words` is null for these.
function findingsOf({ mentions, symptoms }, characters, names) {
  const affirmed = new Set(symptoms.map((one) => one.symptom));
  const spanned = new Set(mentions.filter((one) => one.assertion === "present").map((one) => one.symptom));
  const nameOf = (id) => (id === null ? "not in the lexicon" : Object.hasOwn(names, id) ? names[id] : id);
  const found = mentions.map((one) => ({
    ...one,
    name: nameOf(one.symptom),
    words: characters.slice(one.start, one.end).join(""),
    probability: one.score,
    doubted: one.assertion === "present" && one.symptom !== null && !affirmed.has(one.symptom),
  }));
  const whole = symptoms.filter((one) => !spanned.has(one.symptom)).map((one) => ({
    ...one, name: nameOf(one.symptom), words: null, assertion: "present", reason: null, doubted: false,
  }));
  return [...found, ...whole];
}

function percent(probability) {
  return `${(100 * probability).toFixed(probability > 0.995 && probability < 1 ? 1 : 0)}\u00a0%`;
}

// What decided an assertion; nothing where only the words of the symptom speak.
function because({ reason, words }) {
  if (reason === null) return words === null ? "the whole note" : "";
  const said = `“${reason.words}”`;
  return {
    cue: `because of ${said}`,
    section: `in the section ${said}`,
    mark: `the mark ${said}`,
    word: `the word itself, ${said}`,
    value: `the value ${said}`,
    model: "decided by the model",
  }[reason.kind];
}

// Who found it and, only where a model gave one, the probability; it is never that of the rules.
function foundBy(found) {
  if (found.probability === null) return SOURCES[found.source];
  const probability = percent(found.probability);
  if (found.source !== "rules") return `${SOURCES[found.source]}, ${probability}`;
  return `rules; the model doubts it, ${probability}${found.doubted ? ": not affirmed" : ""}`;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// The findings of one assertion, each symptom once with all its mentions; nothing where there are none.
function group(kind, findings) {
  const bySymptom = groupBy(findings.filter((one) => one.assertion === kind), (one) => one.name);
  if (!bySymptom.size) return [];
  const box = element("section", undefined, `group of-${kind}`);
  const title = element("h3", `${capital(ASSERTIONS[kind])} (${bySymptom.size})`);
  title.id = `group-${kind}`;
  box.setAttribute("aria-labelledby", title.id);
  const list = element("ul");
  for (const [name, all] of bySymptom) {
    const item = element("li");
    item.append(element("span", name, "name"));
    const lines = new Set(all.map((one) => {
      const parts = [one.words === null ? "" : `“${one.words}”`, because(one)].filter(Boolean);
      return `${parts.join(": ")} (${foundBy(one)})`;
    }));
    for (const line of lines) item.append(element("span", line, "why"));
    list.append(item);
  }
  box.append(title, list);
  return [box];
}

function legendEntry(assertion) {
  const item = element("li");
  item.append(element("mark", ASSERTIONS[assertion], assertion));
  return item;
}

// The note in pieces: mentions marked, what decided them underlined. Of two that overlap the first is shown.
function pieces(characters, findings) {
  const mentions = findings.filter((one) => one.words !== null);
  const places = [...groupBy(mentions, (one) => `${one.start}-${one.end}`).values()].map((all) => ({
    start: all[0].start, end: all[0].end, element: () => marked(all),
  }));
  const reasons = mentions.map((one) => one.reason).filter((reason) => reason !== null && reason.start !== null);
  for (const [reason] of groupBy(reasons, (one) => `${one.start}-${one.end}`).values()) {
    if (mentions.some((one) => one.start < reason.end && reason.start < one.end)) continue;
    const words = characters.slice(reason.start, reason.end).join("");
    places.push({ start: reason.start, end: reason.end, element: () => element("span", words, "cue") });
  }
  places.sort((one, other) => one.start - other.start);
  const made = [];
  let at = 0;
  for (const place of places) {
    if (place.start < at) continue; // it overlaps the one before; the table lists both
    made.push(document.createTextNode(characters.slice(at, place.start).join("")), place.element());
    at = place.end;
  }
  made.push(document.createTextNode(characters.slice(at).join("")));
  return made;
}

// One span; a form such as "n/v" names several symptoms.
function marked(all) {
  const mark = element("mark", all[0].words, all[0].assertion);
  mark.title = all
    .map((one) => {
      const why = [ASSERTIONS[one.assertion], because(one)].filter(Boolean).join(", ");
      return `${one.name}: ${why} (${foundBy(one)})`;
    })
    .join("; ");
  mark.append(element("span", ` (${mark.title})`, "aside"));
  return mark;
}

function fillTable(findings, points) {
  const columns = points
    ? ["In the note", "Symptom", "Assertion", "Why", "Found by", "Code", "Characters"]
    : ["Symptom", "Found by", "Code"];
  const rows = findings.map((found) => {
    const last = [foundBy(found), found.code ?? "–"];
    if (!points) return [found.name, ...last];
    const place = found.words === null ? "whole note" : `${found.start}–${found.end}`;
    const assertion = element("mark", ASSERTIONS[found.assertion], found.assertion);
    return [found.words ?? "–", found.name, assertion, because(found) || "–", ...last, place];
  });
  $("caption").textContent = points ? "Every finding, in the order of the note" : "Symptoms that the note affirms";
  $("head").replaceChildren(...columns.map((name) => {
    const cell = element("th", name);
    cell.scope = "col";
    return cell;
  }));
  $("rows").replaceChildren(...rows.map((cells) => {
    const row = element("tr");
    cells.forEach((content, column) => {
      const cell = element("td", undefined, columns[column] === "Why" ? "wide" : "");
      cell.append(content);
      row.append(cell);
    });
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
$("example").addEventListener("click", () => {
  $("note").value = EXAMPLE;
  extract();
});
$("model").addEventListener("change", showCardLink);
$("card").addEventListener("click", showCard);
$("card-close").addEventListener("click", () => $("card-dialog").close());
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
