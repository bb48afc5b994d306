// Run pages: what is revealed is asked for by itself, and the slider shows the run at any event. Text is only ever text.
(() => {
  "use strict";
  const one = (selector) => document.querySelector(selector);

  // What one cannot see, or what turns the direction of writing, is shown by its number.
  const HIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u;
  const shown = (text) => {
    const made = document.createDocumentFragment();
    let plain = "";
    for (const char of text) {
      if (char === "\n" || char === "\t" || !HIDDEN.test(char)) { plain += char; continue; }
      made.append(plain);
      plain = "";
      const mark = document.createElement("span");
      mark.className = "ctl";
      mark.textContent = `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
      made.append(mark);
    }
    made.append(plain);
    return made;
  };
  const load = async (pre, address) => {
    pre.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(address, { headers: { accept: "text/plain" } });
      pre.replaceChildren(shown(await answer.text()));
    } catch {
      pre.replaceChildren("It could not be loaded. Is the dashboard still running?");
    }
    pre.removeAttribute("aria-busy");
  };
  for (const box of document.querySelectorAll("details[data-text]")) {
    box.addEventListener("toggle", () => load(box.querySelector("pre"), box.dataset.text), { once: true });
  }

  // The slider.
  const section = one("#moment");
  const range = one("#at");
  if (!section || !range) return;
  one("#moment-go").hidden = true;
  const link = (name, call) => {
    const made = document.createElement("a");
    made.className = "name";
    made.textContent = call.name;
    made.setAttribute("href", call.href);
    return made;
  };
  const listed = (place, calls) => {
    place.replaceChildren(...(calls.length ? calls.flatMap((call) => [link("a", call), " "]) : ["none"]));
  };
  const budget = (given) => {
    const row = document.createElement("tr");
    const name = document.createElement("th");
    name.textContent = given.name;
    const middle = document.createElement("td");
    if (given.share !== null) {
      const bar = document.createElement("progress");
      bar.max = 1;
      bar.value = given.share;
      bar.setAttribute("aria-label", given.name);
      if (given.near) bar.className = "near";
      middle.append(bar);
    }
    const said = document.createElement("td");
    said.className = "n";
    said.textContent = given.said;
    row.append(name, middle, said);
    return row;
  };
  const circuit = (given) => {
    const made = document.createElement("span");
    made.className = `badge c-${given.state}`;
    made.textContent = `${given.name} ${given.state}`;
    return made;
  };
  const step = (id, seq) => {
    const to = one(id);
    if (seq === null) to.removeAttribute("href");
    else {
      const address = new URL(location.href);
      address.searchParams.set("at", seq);
      address.hash = "moment";
      to.setAttribute("href", address.pathname + address.search + address.hash);
      to.dataset.seq = seq;
    }
  };
  const messages = one("#moment-messages");
  const said = (at) => {
    if (messages?.open) load(messages.querySelector("pre"), `${section.dataset.messages}&at=${at}`);
  };
  messages?.addEventListener("toggle", () => said(range.value));
  const draw = (state) => {
    one("#moment-title").textContent = state.title;
    one("#moment-detail").textContent = state.detail.slice(0, 300);
    one("#moment-when").textContent = state.when;
    one("#moment-place").textContent = state.place;
    one("#moment-said").className = state.bad ? "moment is-bad" : "moment";
    one("#moment-calls").textContent = state.calls;
    one("#moment-budgets").replaceChildren(...state.budgets.map(budget));
    listed(one("#moment-open"), state.open);
    listed(one("#moment-waiting"), state.waiting);
    one("#moment-circuits").replaceChildren(
      ...(state.circuits.length ? state.circuits.map(circuit) : ["none changed in this run by then"]));
    step("#moment-before", state.before);
    step("#moment-after", state.after);
    const cursor = one("#cursor");
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, `${state.x}%`);
    said(state.seq);
  };
  let newest = 0;
  let timer = 0;
  const show = (at) => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const mine = ++newest;
      try {
        const answer = await fetch(`${section.dataset.moment}&at=${at}`);
        const state = await answer.json();
        if (mine === newest) draw(state);
      } catch {
        one("#moment-title").textContent = "It could not be loaded. Is the dashboard still running?";
      }
    }, 40);
  };
  range.addEventListener("input", () => show(range.value));
  for (const id of ["#moment-before", "#moment-after"]) {
    one(id).addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || !event.currentTarget.hasAttribute("href")) return;
      event.preventDefault();
      range.value = event.currentTarget.dataset.seq ?? new URL(event.currentTarget.href).searchParams.get("at");
      show(range.value);
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    if (event.key === "[") one("#moment-before").click();
    if (event.key === "]") one("#moment-after").click();
  });
})();
