// The description of the API, drawn from /openapi.json. It loads nothing from elsewhere.
"use strict";

const $ = (id) => document.getElementById(id);
const METHODS = ["get", "post", "put", "patch", "delete"];

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

async function load() {
  const headers = $("key").value ? { Authorization: `Bearer ${$("key").value}` } : {};
  try {
    const response = await fetch("/openapi.json", { headers, redirect: "error" });
    if (response.status === 401) {
      $("form").hidden = false;
      $("key").focus();
      say($("key").value ? "This key does not open the service." : "This service needs its API key.", true);
      return;
    }
    if (!response.ok) throw new Error(`status ${response.status}`);
    show(await response.json());
    $("form").hidden = true;
    say("");
  } catch {
    say("The service did not answer. Is it running?", true);
  }
}

function show(api) {
  $("lead").textContent = `${api.info.title} ${api.info.version}. ${api.info.description || ""}`;
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => operation(path, method, item[method])));
  $("operations").replaceChildren(...operations);
  const schemas = Object.entries(api.components.schemas).sort(([one], [other]) => one.localeCompare(other));
  $("schemas").replaceChildren(...schemas.map(([name, schema]) => object(name, schema)));
  $("schemas-part").hidden = false;
}

function operation(path, method, said) {
  const part = element("section");
  const title = `${method.toUpperCase()} ${path}`;
  part.append(element("h2", title, "name"));
  for (const paragraph of (said.description || "").split(/\n\s*\n/)) part.append(element("p", paragraph));
  const given = (said.parameters || []).map((one) => [one.name, kindOf(one.schema), `in the ${one.in}`]);
  if (given.length) part.append(scrolled(title, table("Parameters", ["name", "type", "where"], given)));
  const bodies = Object.entries(said.requestBody?.content || {});
  if (bodies.length) {
    const rows = bodies.map(([media, body]) => [media, kindOf(body.schema)]);
    part.append(scrolled(title, table("Body", ["Content-Type", "type"], rows)));
  }
  const answers = Object.entries(said.responses).flatMap(([status, answer]) => {
    const kinds = Object.entries(answer.content || {});
    if (!kinds.length) return [[status, "–", answer.description]];
    return kinds.map(([media, one]) => [status, media, kindOf(one.schema)]);
  });
  part.append(scrolled(title, table("Answers", ["status", "Content-Type", "type"], answers)));
  return part;
}

function object(name, schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([field, one]) =>
    [field, kindOf(one), required.has(field) ? "required" : "optional", one.description || ""]);
  const part = scrolled(name, table(name, ["field", "type", "", ""], rows, schema.description));
  part.id = name;
  return part;
}

// A table that scrolls by itself where the window is narrower.
function scrolled(name, content) {
  const part = element("div", undefined, "scroll");
  part.tabIndex = 0;
  part.setAttribute("role", "region");
  part.setAttribute("aria-label", `${name}: ${content.caption.firstChild.textContent}`);
  part.append(content);
  return part;
}

// The type of a schema in words; objects by their name.
function kindOf(schema) {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return choices.map(kindOf).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.type === "array") return `list of ${kindOf(schema.items)}`;
  const text = schema.format ? `${schema.type} (${schema.format})` : schema.type || "any";
  return schema.description && schema.type === "object" ? `${text}: ${schema.description}` : text;
}

function table(caption, heads, rows, more) {
  const made = element("table");
  made.append(element("caption", caption));
  if (more) made.caption.append(element("span", more, "why"));
  const head = made.createTHead().insertRow();
  for (const one of heads) head.append(element(one ? "th" : "td", one));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const cell of row) line.append(element("td", cell));
  }
  return made;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  load();
});
load();
