// Follows a run: asks for its state every second, and changes what differs. Texts of nodes and programs are only ever set as
// text, never as markup.
"use strict";

(() => {
  const EVERY = 1000, AFTER_END = 5000, PATIENCE = 8000;
  const SVG = "http://www.w3.org/2000/svg";
  const at = (id) => document.getElementById(id);
  let timer = 0, asking = false, shown = null, moment = "";

  const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const hide = (element, hidden) => { if (element.hidden !== hidden) element.hidden = hidden; };
  const style = (element, name) => { if (element.getAttribute("class") !== name) element.setAttribute("class", name); };

  function made(tag, parent, name) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    parent.append(element);
    return element;
  }

  // As many children as items, each changed by `change(child, item)`; `make` adds one.
  function each(parent, items, make, change) {
    while (parent.children.length > items.length) parent.lastElementChild.remove();
    while (parent.children.length < items.length) make();
    items.forEach((item, n) => change(parent.children[n], item));
  }

  function drawn(svg, name, attributes, text) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    svg.append(element);
    return element;
  }

  // Round numbers that span low to high, about so many.
  function ticks(low, high, count, whole) {
    const rough = Math.max((high - low) / count, 1e-9), power = 10 ** Math.floor(Math.log10(rough));
    let step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? rough;
    if (whole) step = Math.max(1, Math.round(step));
    const found = [];
    for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9 && found.length < 20; value += step) found.push(value);
    return found;
  }

  function figure(svg, marks, { x, y, left, from, xs, ys }) {
    const wide = 400, high = 230, right = 10, top = 10, bottom = 38;
    const across = (value) => left + (value - xs[0]) / (xs[1] - xs[0]) * (wide - left - right);
    const up = (value) => high - bottom - (value - ys[0]) / (ys[1] - ys[0]) * (high - top - bottom);
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${wide} ${high}`);
    for (const value of ticks(ys[0], ys[1], 5, false)) {
      drawn(svg, "line", { class: "axis", x1: left, x2: wide - right, y1: up(value), y2: up(value) });
      drawn(svg, "text", { x: left - 6, y: up(value) + 4, "text-anchor": "end" }, y(value));
    }
    for (const value of ticks(Math.max(from, xs[0]), xs[1], 8, true))
      drawn(svg, "text", { x: across(value), y: high - bottom + 16, "text-anchor": "middle" }, String(value));
    drawn(svg, "text", { x: (left + wide - right) / 2, y: high - 6, "text-anchor": "middle" }, x);
    for (const mark of marks) {
      const places = mark.points.map(([a, b]) => `${across(a).toFixed(1)},${up(b).toFixed(1)}`);
      const [cx, cy] = places[places.length - 1].split(",");
      const line = places.length > 1
        ? drawn(svg, "polyline", { class: mark.name, points: places.join(" ") })
        : drawn(svg, "circle", { class: mark.name.replace("course", "point"), cx, cy, r: 3.5 });
      drawn(line, "title", {}, mark.label);
      if (places.length > 1 && mark.runs) drawn(svg, "circle", { class: "point runs", cx, cy, r: 3.5 });
    }
  }

  const ends = (values) => [Math.min(...values), Math.max(...values)];

  function accuracies(courses) {
    const name = (one, n) => `course${one.runs ? " runs" : n === courses.length - 1 ? " last" : ""}`;
    const marks = courses.map((one, n) => ({ ...one, name: name(one, n) })).sort((a, b) => a.runs - b.runs);
    const points = courses.flatMap((one) => one.points);
    const [, last] = ends(points.map(([epoch]) => epoch)), [low, high] = ends(points.map(([, value]) => value));
    const spare = Math.max((high - low) * .08, .01);
    figure(at("accuracy").querySelector("svg"), marks, {
      x: "epoch", y: (value) => `${+(value * 100).toFixed(2)}%`, left: 52, from: 1,
      xs: [.7, Math.max(last, 2) + .3], ys: [Math.max(low - spare, 0), Math.min(high + spare, 1)],
    });
  }

  function throughputs(rates) {
    const marks = rates.map((one) => ({ ...one, points: [one.point], name: `point${one.runs ? " runs" : ""}` }));
    marks.sort((a, b) => a.runs - b.runs);
    const [few, many] = ends(rates.map((one) => one.point[0])), most = Math.max(...rates.map((one) => one.point[1]));
    figure(at("throughput").querySelector("svg"), marks, {
      x: "nodes", y: (value) => `${+value.toPrecision(3)}`, left: 52, from: 1,
      xs: [Math.max(few - .6, 0), many + .6], ys: [0, most * 1.08],
    });
  }

  function past(svg, values) {
    const text = values.join(" ");
    if (svg.dataset.values === text) return;
    svg.dataset.values = text;
    const most = Math.max(100, ...values), step = values.length > 1 ? 78 / (values.length - 1) : 0;
    const points = values.map((value, n) => `${(1 + n * step).toFixed(1)},${(17 - value / most * 15).toFixed(1)}`);
    svg.replaceChildren();
    svg.setAttribute("viewBox", "0 0 80 18");
    drawn(svg, "polyline", { points: points.join(" ") });
  }

  function nodes(list) {
    const body = at("nodes");
    hide(at("watts"), !list.some((one) => one.watts));
    const make = () => {
      const row = made("tr", body);
      for (let n = 0; n < 10; n++) made("td", row);
      const svg = drawn(row.children[2], "svg", { class: "past", preserveAspectRatio: "none", "aria-hidden": "true" });
      svg.dataset.values = "-";
    };
    each(body, list, make, (row, one) => {
      style(row, one.old ? "old" : "");
      say(row.children[0], one.node);
      say(row.children[1], one.cells[0]);
      past(row.children[2].firstElementChild, one.cpu);
      const after = [...one.cells.slice(1, 3), one.watts, ...one.cells.slice(3)];
      after.forEach((cell, n) => say(row.children[n + 3], cell));
      hide(row.children[5], !one.watts);
      style(row.children[6], one.held ? "held" : "");
    });
  }

  function trials(list) {
    const body = at("trials");
    const make = () => { const row = made("tr", body); for (let n = 0; n < 8; n++) made("td", row); };
    each(body, list, make, (row, one) => {
      const texts = [one.trial, one.status, ...one.cells, one.why];
      texts.forEach((text, n) => say(row.children[n], text));
      style(row.children[1], ["failed", "suspect"].includes(one.status) ? one.status : "");
      style(row.children[7], "words");
    });
  }

  function logs(list) {
    const holder = at("logs");
    const make = () => {
      const details = made("details", holder);
      made("summary", details);
      made("pre", details);
      details.open = holder.children.length === 1;
    };
    each(holder, list, make, (details, one) => {
      const [summary, pre] = details.children;
      const below = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 8;  // who has scrolled up reads
      say(summary, one.rank);
      say(pre, one.lines.join("\n"));
      if (below) pre.scrollTop = pre.scrollHeight;
    });
  }

  function current(one) {
    hide(at("current"), !one);
    if (!one) return;
    say(at("current-title"), one.runs ? "The trial that runs" : "The last trial");
    say(at("trial"), one.trial);
    say(at("doing"), one.doing);
    at("trial-share").value = one.share;
    hide(at("trial-share"), !one.runs);
    each(at("facts"), one.facts, () => { const item = made("li", at("facts")); made("span", item); item.append(" "); made("b", item); },
      (item, [name, value]) => { say(item.children[0], name); say(item.children[1], value); });
    hide(at("errors"), one.errors.length === 0);
    each(at("errors"), one.errors, () => made("li", at("errors")), say);
  }

  function show(state) {
    const whole = "progress" in state;
    say(at("phase"), state.phase);
    style(at("phase"), `badge ${state.phase}`);
    say(at("note"), state.note);
    hide(at("note"), !state.note);
    say(at("place"), state.place);
    moment = new Date().toLocaleTimeString();
    if (!whole) return;
    shown = state;
    say(at("experiment"), state.experiment);
    document.title = `${state.experiment}: ${state.progress.text}`;
    say(at("about"), state.about.join(" · "));
    hide(at("progress"), false);
    at("run-share").value = state.progress.share;
    say(at("run-text"), state.progress.text);
    say(at("run-left"), state.progress.left);
    current(state.current);
    hide(at("figures"), state.courses.length + state.rates.length === 0);
    hide(at("accuracy"), state.courses.length === 0);
    if (state.courses.length) accuracies(state.courses);
    hide(at("throughput"), state.rates.length === 0);
    if (state.rates.length) throughputs(state.rates);
    hide(at("health"), state.nodes.length === 0);
    nodes(state.nodes);
    say(at("power"), state.power);
    hide(at("power"), !state.power);
    say(at("wire"), state.wire);
    hide(at("output"), state.logs.length === 0);
    logs(state.logs);
    hide(at("over"), state.trials.length === 0);
    trials(state.trials);
  }

  function lost(why) {
    const before = moment ? ` Shown is the state of ${moment}.` : "";
    say(at("lost"), `${why}${before}`);
    hide(at("lost"), false);
    if (shown && shown.phase === "ended") return;
    say(at("phase"), "not followed");
    style(at("phase"), "badge lost");
  }

  async function poll() {
    if (asking) return;
    clearTimeout(timer);
    asking = true;
    let pause = EVERY;
    try {
      const answer = await fetch("state.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(await answer.text());
      const state = await answer.json();
      hide(at("lost"), true);
      show(state);
      if (state.phase === "ended") pause = AFTER_END;
    } catch (error) {
      const gone = error instanceof TypeError || error instanceof DOMException;
      lost(gone ? "The harness that served this page does not answer: it has ended, or the connection is gone." : error.message);
    }
    asking = false;
    timer = setTimeout(poll, pause);
  }

  // A page in the background is slowed down by the browser: once it is looked at again, it is brought up to date at once.
  document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
  poll();
})();
