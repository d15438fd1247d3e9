// Pan, zoom, look for nodes, and show what a node depends on and leads to. Nothing is fetched.
"use strict";
(() => {
  const view = document.querySelector("main > svg");
  const scene = view.querySelector(".scene");
  const tip = document.getElementById("tip");
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const nodes = [...scene.querySelectorAll(".node")];
  const edges = [...scene.querySelectorAll(".edge")];
  const told = new Map();
  for (const each of scene.querySelectorAll("title")) {
    // The page shows these itself, at once; for readers of screens they become labels.
    told.set(each.parentNode, each.textContent);
    each.parentNode.setAttribute("aria-label", each.textContent);
    each.remove();
  }

  // Id, op and state; reasons name other nodes.
  const heads = new Map(nodes.map((node) => [
    node, told.get(node).split("\n").slice(0, 3).join("\n").toLowerCase(),
  ]));

  const size = view.viewBox.baseVal;
  const whole = { width: size.width, height: size.height };
  const leaveRoom = 0.96;
  let at = { x: 0, y: 0, scale: 1 };
  view.removeAttribute("viewBox");

  function draw() {
    scene.setAttribute("transform", `translate(${at.x} ${at.y}) scale(${at.scale})`);
  }
  function fit(smallest) {
    const box = view.getBoundingClientRect();
    const all = Math.min(box.width / whole.width, box.height / whole.height) * leaveRoom;
    const scale = Math.max(Math.min(all, 1.4), smallest);
    const middle = (room, length) => Math.max(12, (room - length * scale) / 2);
    at = { x: middle(box.width, whole.width), y: middle(box.height, whole.height), scale };
    draw();
  }
  function zoom(factor, x, y) {
    const scale = Math.min(8, Math.max(0.02, at.scale * factor));
    at.x = x - (x - at.x) * scale / at.scale;
    at.y = y - (y - at.y) * scale / at.scale;
    at.scale = scale;
    draw();
  }
  function zoomMiddle(factor) {
    const box = view.getBoundingClientRect();
    zoom(factor, box.width / 2, box.height / 2);
  }
  function goTo(node) {
    const box = view.getBoundingClientRect();
    const place = node.getBBox();
    at.scale = Math.max(at.scale, 0.9);
    at.x = box.width / 2 - (place.x + place.width / 2) * at.scale;
    at.y = box.height / 2 - (place.y + place.height / 2) * at.scale;
    draw();
  }

  function choose(wanted, lines, middle) {
    scene.classList.toggle("chosen", wanted !== null);
    for (const node of nodes) {
      node.classList.toggle("on", wanted !== null && wanted.has(node.dataset.n));
      node.classList.toggle("at", middle !== undefined && node.dataset.n === middle);
    }
    for (const edge of edges) edge.classList.toggle("on", lines.has(edge));
  }
  function reach(start, from, to, wanted, lines) {
    const next = new Map();
    for (const edge of edges) {
      if (!next.has(edge.dataset[from])) next.set(edge.dataset[from], []);
      next.get(edge.dataset[from]).push(edge);
    }
    const open = [start];
    const seen = new Set(open);
    while (open.length) {
      for (const edge of next.get(open.pop()) || []) {
        lines.add(edge);
        const other = edge.dataset[to];
        wanted.add(other);
        if (!seen.has(other)) { seen.add(other); open.push(other); }
      }
    }
  }
  function chooseAround(node) {
    const wanted = new Set([node.dataset.n]);
    const lines = new Set();
    reach(node.dataset.n, "s", "t", wanted, lines);
    reach(node.dataset.n, "t", "s", wanted, lines);
    choose(wanted, lines, node.dataset.n);
  }
  let hits = [];
  let turn = 0;
  function look() {
    const text = search.value.trim().toLowerCase();
    hits = text ? nodes.filter((node) => heads.get(node).includes(text)) : [];
    turn = 0;
    found.textContent = text ? `${hits.length} found` : "";
    choose(text ? new Set(hits.map((node) => node.dataset.n)) : null, new Set());
  }

  search.addEventListener("input", look);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && hits.length) {
      goTo(hits[turn % hits.length]);
      turn += 1;
    } else if (event.key === "Escape") {
      search.value = "";
      look();
    }
  });
  document.getElementById("in").addEventListener("click", () => zoomMiddle(1.3));
  document.getElementById("out").addEventListener("click", () => zoomMiddle(1 / 1.3));
  document.getElementById("fit").addEventListener("click", () => fit(0));
  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = view.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 500), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  let drag = null;
  view.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, moved: false };
  });
  window.addEventListener("pointermove", (event) => {
    if (drag) {
      const x = event.clientX - drag.x;
      const y = event.clientY - drag.y;
      if (!drag.moved && Math.hypot(x, y) < 4) return;
      drag = { x: event.clientX, y: event.clientY, moved: true };
      view.classList.add("dragged");
      at.x += x;
      at.y += y;
      draw();
      tip.hidden = true;
      return;
    }
    const item = event.target.closest ? event.target.closest(".node, .cluster") : null;
    tip.hidden = !item || !told.has(item);
    if (tip.hidden) return;
    tip.textContent = told.get(item);
    const box = view.getBoundingClientRect();
    const left = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 8);
    const below = event.clientY - box.top + 16;
    const above = event.clientY - box.top - tip.offsetHeight - 10;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${below + tip.offsetHeight > box.height ? Math.max(4, above) : below}px`;
  });
  window.addEventListener("pointerup", (event) => {
    view.classList.remove("dragged");
    const moved = drag === null || drag.moved;
    drag = null;
    if (moved || !event.target.closest || !event.target.closest("main > svg")) return;
    const node = event.target.closest(".node");
    if (node) chooseAround(node);
    else look();
  });
  window.addEventListener("pointercancel", () => { drag = null; });
  // Small enough to be seen as a whole, or large enough to be read.
  fit(0.42);
})();
