// The dashboard's own script: keys, theme, charts, the live page. It makes nodes and sets text; it never parses HTML.
(() => {
  "use strict";
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];

  // Theme: a cookie, so that the server writes it into the page and nothing flashes.
  const theme = one("#theme");
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const named = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  if (theme) {
    theme.hidden = false;
    named();
    theme.addEventListener("click", () => {
      document.documentElement.dataset.theme = dark() ? "light" : "dark";
      document.cookie = `theme=${document.documentElement.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
      named();
      draw();
    });
  }

  // Keys.
  const help = one("#help");
  const opener = one("#help-open");
  if (opener) {
    opener.hidden = false;
    opener.addEventListener("click", () => help.showModal());
  }
  let leading = 0;
  const move = (by) => {
    const links = all("main a.go").filter((link) => link.offsetParent !== null);
    if (!links.length) return;
    const here = links.findIndex((link) => (link.closest("tr, li, article") || link).contains(document.activeElement));
    const next = here < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(here + by, 0), links.length - 1);
    links[next].focus();
    links[next].scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help?.open) return;
    if (event.target.closest("input, textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const second = Date.now() - leading < 1500;
    leading = 0;
    if (second) {
      const link = one(`.top nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) link.click();
    } else if (event.key === "g") leading = Date.now();
    else if (event.key === "/") { event.preventDefault(); one("#search")?.focus(); }
    else if (event.key === "?") help?.showModal();
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (/^[1-4]$/.test(event.key)) all(".windows a")[Number(event.key) - 1]?.click();
  });

  // Charts: what the server drew as SVG is drawn anew, with scales and a cursor.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const fills = { ok: "--ok-fill", bad: "--bad-fill", warn: "--warn-fill" };
  const plots = new Map();
  const two = (number) => String(number).padStart(2, "0");
  const label = (seconds, span) => {
    const time = new Date(seconds * 1000);
    return span > 172800 ? `${two(time.getDate())}.${two(time.getMonth() + 1)}. ${two(time.getHours())}h` : `${two(time.getHours())}:${two(time.getMinutes())}`;
  };
  function draw() {
    if (typeof uPlot === "undefined") return;
    for (const figure of all("[data-chart]")) {
      const given = JSON.parse(figure.dataset.chart);
      plots.get(figure)?.destroy();
      figure.replaceChildren();
      const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
      const bars = given.bars ? uPlot.paths.bars({ size: [0.8, 40], align: 1 }) : undefined;
      plots.set(figure, new uPlot({
        width: Math.max(200, figure.clientWidth), height: Number(figure.dataset.height) || 140,
        scales: { x: { time: true, range: [given.x[0], given.until] }, y: { range: (u, low, high) => [0, Math.max(high || 0, 1) * 1.1] } },
        legend: { markers: { width: 1 } },
        axes: [{ ...axis, size: 24, values: (u, times) => times.map((time) => label(time, given.until - given.x[0])) }, { ...axis, size: 46 }],
        series: [{ label: " ", value: (u, time) => (time === null ? "" : new Date(time * 1000).toLocaleString()) }, ...given.series.map((line) => ({
          label: line.label, stroke: colour(fills[line.kind]), width: bars ? 0 : 2, fill: bars ? colour(fills[line.kind]) : undefined,
          value: (u, value) => (value === null || value === undefined ? "" : String(value)),
          paths: bars, spanGaps: false, points: { show: !bars, size: 4, fill: colour(fills[line.kind]) },
        }))],
      }, [given.x, ...given.series.map((line) => line.values)], figure));
    }
  }
  draw();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  // Live: one row a call, the newest on top.
  const state = one("#live-state");
  const KEPT = 200;
  if (state) {
    const body = one("#live tbody");
    const pause = one("#live-pause");
    let paused = false;
    let waiting = [];
    const link = (text, address, name) => {
      const made = document.createElement("a");
      made.textContent = text;
      made.setAttribute("href", address);
      if (name) made.className = name;
      return made;
    };
    const cell = (name, ...inside) => {
      const made = document.createElement("td");
      if (name) made.className = name;
      made.append(...inside);
      return made;
    };
    const add = (call) => {
      const row = document.createElement("tr");
      row.className = "fresh";
      const time = document.createElement("time");
      time.textContent = call.time;
      time.title = call.full;
      const badge = document.createElement("span");
      badge.className = `badge ${call.kind}`;
      badge.textContent = call.outcome;
      badge.title = call.meaning;
      const why = link("", call.href, "go");
      why.append(badge);
      row.append(cell("", time), cell("", link(call.tool, call.tool_href)), cell("", why), cell("n", call.seconds),
        cell("n", String(call.attempts)), cell("n", call.sizes), cell("", call.principal), cell("", link(call.run_short, call.run_href)));
      body.prepend(row);
      while (body.rows.length > KEPT) body.rows[body.rows.length - 1].remove();
    };
    const said = (text, name) => { state.textContent = text; state.className = `badge ${name}`; };
    const source = new EventSource(state.dataset.stream);
    source.addEventListener("open", () => said("following along", "s-ok"));
    source.addEventListener("error", () => said(source.readyState === EventSource.CLOSED ? "not connected: load again" : "connecting again", "s-pending"));
    source.addEventListener("problem", (event) => { said(JSON.parse(event.data).text, "s-error"); });
    source.addEventListener("call", (event) => {
      const call = JSON.parse(event.data);
      if (!paused) return add(call);
      waiting = [...waiting, call].slice(-KEPT);
      pause.textContent = `Go on (${waiting.length})`;
    });
    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      pause.textContent = paused ? "Go on" : "Pause";
      if (!paused) { waiting.forEach(add); waiting = []; }
    });
    addEventListener("pagehide", () => source.close());
  }
})();
