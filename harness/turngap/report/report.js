"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  // run.json, shown when it is asked for
  const raw = byId("raw");
  raw.addEventListener("toggle", () => {
    byId("raw-text").textContent = JSON.stringify(JSON.parse(byId("run-json").textContent), null, 2);
  }, { once: true });

  // filters
  const form = document.querySelector(".filters");
  const table = byId("turns");
  const rows = [...table.tBodies[0].rows];
  const [outcome, words, over, count] = ["f-outcome", "f-words", "f-over", "f-count"].map(byId);
  const filter = () => {
    const wanted = words.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = (!outcome.value || (row.dataset.o || "answered") === outcome.value)
        && (!over.checked || row.classList.contains("over"))
        && (!wanted || row.textContent.toLowerCase().includes(wanted));
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${rows.length} turns`;
  };
  form.hidden = rows.length < 4;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();

  // sorting: a heading becomes a button
  const number = (text) => {
    const value = parseFloat(text.replaceAll(",", "").replace("−", "-"));
    return Number.isNaN(value) ? Infinity : value;
  };
  table.querySelectorAll("th[data-sort]").forEach((heading) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const at = heading.cellIndex;
      const key = heading.dataset.sort === "n" ? (row) => number(row.cells[at].textContent) : (row) => row.cells[at].textContent;
      const order = (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
      rows.sort((a, b) => (down ? order(b, a) : order(a, b)));
      table.tBodies[0].append(...rows);
    });
  });

  // pins: hear the second before
  document.querySelectorAll(".pin-name").forEach((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = name.className;
    button.textContent = name.textContent;
    button.title = "play from one second before";
    const player = name.closest(".player").querySelector("audio");
    button.addEventListener("click", () => {
      const play = () => {
        player.currentTime = Math.max(0, Number(name.dataset.at) - 1);
        player.play();
      };
      if (player.readyState) { play(); } else { player.addEventListener("loadedmetadata", play, { once: true }); player.load(); }
    });
    name.replaceWith(button);
  });

  // print everything that can be folded away but the raw data
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details:not(#raw)").forEach((part) => { part.open = true; });
  });
})();
