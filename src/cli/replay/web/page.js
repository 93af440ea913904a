"use strict";
const byId = (id) => document.getElementById(id);
const COLOURS = ["#4f5bd5", "#12a5a0", "#e3882d", "#d0487e", "#6fae3d", "#8b5cf6", "#2f8fe0",
  "#c2554d", "#b59a1c", "#5b7083", "#d77bd0", "#3fb37f"];
const colour = (at) => COLOURS[at] ?? `hsl(${at * 137 % 360} 45% 60%)`;

function add(parent, name, attributes = {}, text) {
  const of = name.includes(":") ? ["http://www.w3.org/2000/svg", name.split(":")[1]] : null;
  const made = of ? document.createElementNS(...of) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

const time = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 19);

function duration(ms) {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 120e3) return `${(ms / 1e3).toFixed(1)} s`;
  if (ms < 7200e3) return `${Math.round(ms / 60e3)} min`;
  return ms < 172800e3 ? `${Math.round(ms / 3600e3)} h` : `${Math.round(ms / 86400e3)} days`;
}

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

function legend(where, series, total) {
  where.replaceChildren();
  series.forEach((it, at) => {
    const line = add(where, "div");
    add(line, "i").style.background = colour(at);
    line.append(it.name, " ");
    add(line, "span", {}, total(it));
  });
}

// A frame with lines for the greatest value and half of it, and times below.
function frame(where, greatest, said) {
  where.replaceChildren();
  const width = Math.max(where.clientWidth, 320), height = where.clientHeight;
  const svg = add(where, "svg:svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const box = { svg, left: 56, top: 8, width: width - 64, height: height - 30 };
  for (const part of [0, 0.5, 1]) {
    const y = box.top + box.height * (1 - part);
    add(svg, "svg:line", { x1: box.left, x2: box.left + box.width, y1: y, y2: y });
    add(svg, "svg:text", { x: box.left - 8, y: y + 4, "text-anchor": "end" }, said(greatest * part));
  }
  return box;
}

function times(box, chart, columns) {
  const count = Math.max(2, Math.min(6, Math.floor(box.width / 150)));
  for (let at = 0; at < count; at++) {
    const part = at / (count - 1);
    const ms = chart.first_unix_ms + part * columns * chart.width_ms;
    const anchor = at === 0 ? "start" : at === count - 1 ? "end" : "middle";
    add(box.svg, "svg:text", { x: box.left + part * box.width, y: box.top + box.height + 18,
      "text-anchor": anchor }, time(ms).slice(0, 16));
  }
}

// What a column holds, beside the pointer.
function hover(box, columns, text) {
  const tip = byId("tip");
  for (let at = 0; at < columns; at++) {
    const column = add(box.svg, "svg:rect", { class: "hover", y: box.top, height: box.height,
      x: box.left + at * box.width / columns, width: box.width / columns });
    column.addEventListener("mousemove", (event) => {
      tip.textContent = text(at);
      tip.hidden = false;
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${event.clientY + 14}px`;
    });
    column.addEventListener("mouseleave", () => { tip.hidden = true; });
  }
}

function drawEvents(chart, series) {
  const columns = series.length ? series[0].values.length : 0;
  const sums = Array.from({ length: columns }, (_, at) =>
    series.reduce((sum, it) => sum + it.values[at], 0));
  const greatest = Math.max(1, ...sums);
  const box = frame(byId("events"), greatest, (value) => Math.round(value).toLocaleString("en"));
  const wide = box.width / Math.max(columns, 1);
  for (let at = 0; at < columns; at++) {
    let y = box.top + box.height;
    series.forEach((it, number) => {
      const high = it.values[at] / greatest * box.height;
      y -= high;
      if (high > 0) add(box.svg, "svg:rect", { x: box.left + at * wide, y, height: high,
        width: Math.max(wide - 1, 1), fill: colour(number), class: "bar" });
    });
  }
  times(box, chart, columns);
  hover(box, columns, (at) => [time(chart.first_unix_ms + at * chart.width_ms),
    ...series.filter((it) => it.values[at]).map((it) => `${it.values[at]}  ${it.name}`)].join("\n"));
  const total = (it) => it.values.reduce((sum, value) => sum + value, 0).toLocaleString("en");
  legend(byId("legend"), series, total);
}

function drawLag(chart) {
  const series = chart.late_ms;
  const columns = series.length ? series[0].values.length : 0;
  const greatest = Math.max(1, ...series.flatMap((it) => it.values.map((value) => value ?? 0)));
  // A cut of hours and a lag of milliseconds are both to be seen.
  const scale = (ms) => Math.log1p(ms) / Math.log1p(greatest);
  const box = frame(byId("lag"), 1, (part) => duration(Math.round(Math.expm1(part * Math.log1p(greatest)))));
  series.forEach((it, number) => it.values.forEach((value, at) => {
    if (value === null) return;
    add(box.svg, "svg:circle", { cx: box.left + (at + 0.5) * box.width / columns, r: 3.2,
      cy: box.top + box.height * (1 - scale(value)), fill: colour(number), "fill-opacity": 0.8 });
  }));
  times(box, chart, columns);
  hover(box, columns, (at) => [time(chart.first_unix_ms + at * chart.width_ms),
    ...series.filter((it) => it.values[at] !== null)
      .map((it) => `${duration(it.values[at])}  ${it.name}`)].join("\n"));
  legend(byId("lag-legend"), series, (it) =>
    `at most ${duration(Math.max(0, ...it.values.map((value) => value ?? 0)))}`);
}

function numbers(summary) {
  const said = [["events", summary.events], ["users", summary.users],
    ["erased", summary.users_erased], ["companies", summary.companies],
    ["lost to a rival", summary.lost], ["without a body", summary.without_body],
    ["gaps", summary.gaps.length], ["forks", summary.forks.length]];
  for (const [name, value] of said) {
    const bad = value > 0 && (name === "gaps" || name === "forks");
    const made = add(byId("numbers"), "div", { class: bad ? "number bad" : "number" });
    add(made, "b", {}, value.toLocaleString("en"));
    add(made, "span", {}, name);
  }
  byId("hash").textContent = summary.state_hash;
}

async function search(text) {
  const found = await get(`/users.json?q=${encodeURIComponent(text.trim())}`);
  const where = byId("found");
  where.replaceChildren();
  for (const it of found) {
    const button = add(where, "button", { "data-user": it.user }, it.user);
    add(button, "span", {}, it.events);
    button.addEventListener("click", () => { location.hash = `user=${it.user}`; });
  }
  if (!found.length) add(where, "small", {}, "no user has this in its id");
}

const shown = { user: null, entries: [], steps: [] };

function pills(line, did) {
  if (did.nothing) return void add(line, "span", { class: "pill nothing" }, `nothing: ${did.nothing}`);
  for (const it of did.wrote) {
    const rival = it.replaced ? ` over ${it.replaced}` : it.against ? ` to ${it.against}` : "";
    const word = it.outcome === "changed" ? "" : ` ${it.outcome}`;
    add(line, "span", { class: `pill ${it.outcome}`, title: rival }, `${it.part}${word}${rival}`);
  }
}

async function open(user, at) {
  if (shown.user !== user) {
    Object.assign(shown, await get(`/user/${user}.json`));
    const list = byId("timeline");
    list.replaceChildren();
    shown.entries.forEach((entry, number) => {
      const line = add(list, "li");
      add(line, "span", { class: "when" }, entry.at.replace("T", " ").replace("Z", ""));
      add(line, "span", { class: "who" }, `${entry.company ?? "-"}, ${entry.origin}:${entry.sequence}`);
      add(line, "div", {}).append(Object.assign(document.createElement("b"), { textContent: entry.kind }));
      pills(line, entry.did);
      line.addEventListener("click", () => to(number));
    });
  }
  byId("user").hidden = false;
  byId("user-id").textContent = user;
  byId("slider").max = Math.max(shown.entries.length - 1, 0);
  show(at ?? shown.entries.length - 1);
}

function to(at) {
  history.replaceState(null, "", `#user=${shown.user}&at=${at}`);
  show(at);
}

// The state behind step `at`, what that step added and what it took.
function show(at) {
  const last = shown.entries.length - 1;
  at = Math.max(Math.min(at, last), 0);
  byId("slider").value = at;
  const state = new Map();
  shown.steps.slice(0, at + 1).forEach((step) => {
    step.gone.forEach((it) => state.delete(JSON.stringify(it)));
    step.new.forEach((it) => state.set(JSON.stringify(it), it));
  });
  const step = shown.steps[at] ?? { gone: [], new: [] };
  const fresh = new Set(step.new.map((it) => JSON.stringify(it)));
  const rows = [...state.values()].map((it) => [fresh.has(JSON.stringify(it)) ? "new" : "", it])
    .concat(step.gone.map((it) => ["gone", it]));
  rows.sort(([, one], [, other]) => one.part < other.part ? -1 : one.part > other.part ? 1 : 0);
  const table = byId("state");
  table.replaceChildren();
  for (const [kind, it] of rows) {
    const row = add(table, "tr", { class: kind });
    add(row, "td", {}, it.part);
    add(row, "td", {}, it.is);
    add(row, "td", { class: "since" }, it.at ? `${it.at.slice(0, 19).replace("T", " ")} ${it.origin}` : "");
  }
  [...byId("timeline").children].forEach((line, number) => {
    line.className = number < at ? "past" : number === at ? "past now" : "future";
    if (number === at) {
      const list = byId("timeline");
      const top = line.offsetTop - list.offsetTop;
      if (top < list.scrollTop || top > list.scrollTop + list.clientHeight - line.offsetHeight) {
        list.scrollTop = top - list.clientHeight / 2;
      }
    }
  });
  const entry = shown.entries[at];
  byId("moment").textContent = entry ? `${at + 1} of ${last + 1}, ${time(Date.parse(entry.at))}` : "";
  document.querySelectorAll(".found button").forEach((it) =>
    it.classList.toggle("now", it.dataset.user === shown.user));
}

async function route() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.get("user")) {
    const at = asked.get("at");
    await open(asked.get("user"), at === null ? undefined : Number(at));
  }
}

async function start() {
  const summary = await get("/summary.json");
  numbers(summary);
  const draw = () => {
    const kind = byId("by-kind").getAttribute("aria-selected") === "true";
    drawEvents(summary.chart, kind ? summary.chart.by_kind : summary.chart.by_origin);
    drawLag(summary.chart);
  };
  for (const id of ["by-kind", "by-origin"]) {
    byId(id).addEventListener("click", () => {
      for (const other of ["by-kind", "by-origin"]) byId(other).setAttribute("aria-selected", other === id);
      draw();
    });
  }
  addEventListener("resize", draw);
  addEventListener("hashchange", route);
  byId("search").addEventListener("input", (event) => search(event.target.value));
  byId("slider").addEventListener("input", (event) => to(Number(event.target.value)));
  draw();
  await search("");
  await route();
  document.body.dataset.ready = "true";
}

start().catch((error) => { byId("hash").textContent = `failed: ${error.message}`; });
