// Keeps the region #live current: the server announces changes, and the page is read again.
"use strict";
(() => {
  const MAX_LINES = 1000;
  const pause = document.getElementById("pause");
  const region = () => document.getElementById("live");
  let isPaused = false, isReading = false, isStale = false;

  const announce = (text) => { document.getElementById("announcement").textContent = text; };

  const isInUse = () => {
    const selection = document.getSelection();
    const isSelected = selection && !selection.isCollapsed && region().contains(selection.anchorNode);
    const field = document.activeElement;
    return isSelected || (region().contains(field) && /^(INPUT|SELECT|TEXTAREA)$/.test(field.tagName));
  };

  // New lines are put above the others, so that lines that are open or being read stay.
  const addLines = (fresh) => {
    const list = region().querySelector("[data-lines]");
    const newest = Number(list.firstElementChild?.dataset.number ?? 0);
    const added = [...fresh.querySelectorAll("[data-number]")].filter((line) => Number(line.dataset.number) > newest);
    if (added.length && newest) {
      const oldest = Number(added.at(-1).dataset.number);
      if (added.length === fresh.querySelectorAll("[data-number]").length && oldest > newest + 1) {
        const gap = document.createElement("li");
        gap.className = "gap";
        gap.textContent = "lines between these have not been shown; filter or reload to read them";
        list.prepend(gap);
      }
    }
    list.prepend(...added);
    while (list.children.length > MAX_LINES) list.lastElementChild.remove();
    if (added.length) region().querySelectorAll(":scope > p:not(.notice)").forEach((text) => text.remove());
  };

  const replace = (fresh) => {
    const open = [...region().querySelectorAll("details[open][id]")].map((details) => details.id);
    const focused = region().contains(document.activeElement) ? document.activeElement : null;
    const focusId = focused?.id || focused?.closest("details[id]")?.id;
    region().replaceChildren(...fresh.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focusId) {
      const target = document.getElementById(focusId);
      (target?.matches("details") ? target.querySelector("summary") : target)?.focus({preventScroll: true});
    }
  };

  const read = async () => {
    if (isReading || isPaused || document.hidden || isInUse()) { isStale = true; return; }
    isReading = true;
    isStale = false;
    try {
      const response = await fetch(location.href, {headers: {"Accept": "text/html"}});
      if (!response.ok) return;
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
      if (!fresh || isPaused || isInUse()) { isStale = true; return; }
      if (region().dataset.live === "append") addLines(fresh); else replace(fresh);
    } catch {
      isStale = true;
    } finally {
      isReading = false;
    }
  };

  if (region()) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      isPaused = !isPaused;
      pause.setAttribute("aria-pressed", String(isPaused));
      announce(isPaused ? "Live updates are paused" : "Live updates continue");
      if (!isPaused) read();
    });
    const events = new EventSource("/live");
    events.addEventListener("change", read);
    document.addEventListener("visibilitychange", () => { if (isStale) read(); });
    setInterval(() => { if (isStale) read(); }, 2000);
    addEventListener("pagehide", () => events.close());
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      announce("Copied");
      button.textContent = "Copied";
    } catch {
      document.getSelection().selectAllChildren(source);
      announce("Selected; copy it with the keyboard");
    }
  });
})();
