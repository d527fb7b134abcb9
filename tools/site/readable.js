// A table that is wider than the screen can be scrolled with the keyboard, too; each cell knows its column's name,
// which a phone shows beside it.
new MutationObserver(() => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) box.tabIndex = 0;
  for (const cell of document.querySelectorAll(".md-typeset td:not([data-label])"))
    cell.dataset.label = cell.closest("table").tHead?.rows[0].cells[cell.cellIndex]?.textContent ?? "";
}).observe(document.documentElement, { childList: true, subtree: true });
