// Shows the OpenAPI document named by the body's data-document. Text is only ever set as text: nothing in the
// document can become markup.
"use strict";

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
let api = {};

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

const code = (text) => element("code", null, String(text));
const json = (value) => element("pre", null, JSON.stringify(value, null, 2));

// Backticks in descriptions mark code, as everywhere in the documentation.
function prose(text) {
  const parts = String(text || "").split("`");
  return parts.map((part, index) => (index % 2 ? code(part) : part));
}

function resolved(object) {
  if (!object || !object.$ref) return object || {};
  const path = object.$ref.replace(/^#\//, "").split("/");
  return path.reduce((at, key) => (at || {})[key.replace(/~1/g, "/").replace(/~0/g, "~")], api) || {};
}

const nameOf = (schema) => (schema && schema.$ref ? schema.$ref.split("/").pop() : null);

function typeOf(schema) {
  if (!schema) return [""];
  const name = nameOf(schema);
  if (name) return [element("a", { href: `#schema-${name}` }, name)];
  const choices = schema.oneOf || schema.anyOf || schema.allOf;
  if (choices) return choices.flatMap((choice, index) => (index ? [" | ", ...typeOf(choice)] : typeOf(choice)));
  if (schema.type === "array") return ["array of ", ...typeOf(schema.items)];
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  const type = [].concat(schema.type || "any").join(" | ");
  return [schema.format ? `${type} (${schema.format})` : type];
}

function limitsOf(schema) {
  const words = {
    minimum: "from", maximum: "to", exclusiveMinimum: "over", exclusiveMaximum: "under", minLength: "min length",
    maxLength: "max length", minItems: "min items", maxItems: "max items", pattern: "pattern", default: "default",
  };
  return Object.entries(words)
    .filter(([key]) => schema[key] !== undefined && schema[key] !== null)
    .map(([key, word]) => `${word} ${schema[key]}`)
    .join(", ");
}

function exampleOf(schema, depth = 0) {
  const whole = resolved(schema);
  if (depth > 6) return null;
  if (whole.example !== undefined) return whole.example;
  const examples = Array.isArray(whole.examples) ? whole.examples : Object.values(whole.examples || {});
  if (examples.length) return examples[0] && examples[0].value !== undefined ? examples[0].value : examples[0];
  if (whole.const !== undefined) return whole.const;
  if (whole.default !== undefined) return whole.default;
  if (whole.enum) return whole.enum[0];
  const choices = whole.oneOf || whole.anyOf || whole.allOf;
  if (choices) return exampleOf(choices.find((choice) => choice.type !== "null") || choices[0], depth + 1);
  if (whole.properties) {
    const made = Object.entries(whole.properties).map(([key, value]) => [key, exampleOf(value, depth + 1)]);
    return Object.fromEntries(made);
  }
  if (whole.type === "array") return [exampleOf(whole.items, depth + 1)];
  return { string: "string", integer: 1, number: 1, boolean: true, object: {} }[[].concat(whole.type)[0]] ?? null;
}

function contentExample(content) {
  const given = Object.values(content.examples || {})[0];
  if (given) return resolved(given).value;
  return content.example !== undefined ? content.example : exampleOf(content.schema);
}

function table(headings, rows) {
  const head = element("tr", null, headings.map((heading) => element("th", { scope: "col" }, heading)));
  return element("table", null, element("thead", null, head), element("tbody", null, rows));
}

const row = (...cells) => element("tr", null, cells.map((cell) => element("td", null, cell)));

function fields(schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([name, property]) => {
    const whole = resolved(property);
    const notes = [...prose(property.description || whole.description), " ", limitsOf(property)];
    return row(code(name), typeOf(property), required.has(name) ? "required" : "", notes);
  });
  return table(["field", "type", "", ""], rows);
}

function contents(of) {
  return Object.entries((of && of.content) || {}).flatMap(([mediaType, content]) => [
    element("div", null, code(mediaType), " ", typeOf(content.schema)),
    mediaType.includes("json") ? json(contentExample(content)) : null,
  ]);
}

function parameters(list) {
  if (!list.length) return [];
  const rows = list.map((parameter) => {
    const notes = [...prose(parameter.description), " ", limitsOf(parameter.schema || {})];
    const needed = parameter.required ? "required" : "";
    return row(code(parameter.name), parameter.in, typeOf(parameter.schema), needed, notes);
  });
  return [element("h4", null, "Parameters"), table(["name", "in", "type", "", ""], rows)];
}

function response([status, reference]) {
  const answer = resolved(reference);
  const headers = Object.entries(answer.headers || {}).map(([name, header]) =>
    element("div", null, code(name), " ", prose(resolved(header).description)));
  return element("details", null,
    element("summary", null, code(status), " ", prose(answer.description)),
    element("div", { class: "inside" }, headers, contents(answer)));
}

function quoted(text) {
  return `'${String(text).replace(/'/g, "'\\''")}'`;
}

function curl(method, path, operation) {
  const parts = [`curl -X ${method.toUpperCase()} ${quoted(location.origin + path)}`];
  if (needsToken(operation)) parts.push('-H "Authorization: Bearer $TOKEN"');
  for (const parameter of (operation.parameters || []).map(resolved)) {
    if (parameter.in === "header" && parameter.required) parts.push(`-H ${quoted(`${parameter.name}: ...`)}`);
  }
  const body = operation.requestBody && resolved(operation.requestBody).content["application/json"];
  if (body) parts.push(`-H 'Content-Type: application/json'`, `-d ${quoted(JSON.stringify(contentExample(body)))}`);
  return element("pre", null, parts.join(" \\\n  "));
}

function needsToken(operation) {
  const security = operation.security || api.security || [];
  return security.some((requirement) => Object.keys(requirement).length > 0);
}

function operationSection({ method, path, operation, shared, id }) {
  const body = operation.requestBody && resolved(operation.requestBody);
  const all = [...shared, ...(operation.parameters || [])].map(resolved);
  return element("details", { id },
    element("summary", null,
      element("span", { class: `method ${method}` }, method.toUpperCase()), code(path), " ",
      element("span", { class: "dim" }, operation.summary || "")),
    element("div", { class: "inside" },
      element("p", null, prose(operation.description),
        needsToken(operation) ? element("span", { class: "dim" }, " Needs a token.") : null),
      parameters(all),
      body ? [element("h4", null, "Body"), contents(body)] : null,
      element("h4", null, "Answers"), Object.entries(operation.responses || {}).map(response),
      element("h4", null, "As a command"), curl(method, path, operation)));
}

function operations() {
  return Object.entries(api.paths || {}).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({
      method, path, operation: item[method], shared: item.parameters || [],
      id: `${method}-${path.replace(/[^a-z0-9]+/gi, "-")}`,
    })));
}

function byTag(all) {
  const groups = new Map();
  for (const one of all) {
    const tag = (one.operation.tags || ["other"])[0];
    groups.set(tag, [...(groups.get(tag) || []), one]);
  }
  return [...groups];
}

function schemas() {
  return Object.entries((api.components || {}).schemas || {}).map(([name, schema]) =>
    element("details", { id: `schema-${name}` },
      element("summary", null, code(name)),
      element("div", { class: "inside" },
        element("p", null, prose(schema.description)),
        schema.properties ? fields(schema) : element("p", null, typeOf(schema)))));
}

function securitySchemes() {
  const rows = Object.entries((api.components || {}).securitySchemes || {}).map(([name, scheme]) =>
    row(code(name), [scheme.type, scheme.scheme].filter(Boolean).join(" "), prose(scheme.description)));
  return rows.length ? [element("h2", null, "Security"), table(["name", "type", ""], rows)] : [];
}

function show(document_) {
  api = document_;
  const groups = byTag(operations());
  const { title, version, description } = api.info;
  document.querySelector("header").append(
    element("h1", null, title, element("small", null, version)),
    element("p", null, prose(description)),
    element("a", { href: document.body.dataset.document }, `OpenAPI ${api.openapi} as JSON`));
  document.querySelector("nav").append(...groups.flatMap(([tag, all]) => [
    element("strong", null, tag),
    element("ul", null, all.map(({ id, method, path }) =>
      element("li", null, element("a", { href: `#${id}` },
        element("span", { class: `method ${method}` }, method.toUpperCase()), path)))),
  ]));
  document.querySelector("main").append(
    ...groups.flatMap(([tag, all]) => [element("h2", null, tag), ...all.map(operationSection)]),
    element("h2", null, "Schemas"), ...schemas(), ...securitySchemes());
  openTarget();
}

function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}

addEventListener("hashchange", openTarget);
fetch(document.body.dataset.document)
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`HTTP ${answer.status}`))))
  .then(show)
  .catch((error) => document.querySelector("main").append(element("p", { class: "error" }, String(error))));
