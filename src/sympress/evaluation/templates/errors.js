"use strict";
(() => {
  const errors = [...document.querySelectorAll("article.error")];
  const kind = document.getElementById("kind"), symptom = document.getElementById("symptom");
  const shown = document.getElementById("shown");
  const filter = () => {
    let count = 0;
    for (const one of errors) {
      one.hidden = (kind.value && one.dataset.kind !== kind.value) ||
        (symptom.value && one.dataset.symptom !== symptom.value) ? true : false;
      count += !one.hidden;
    }
    shown.textContent = `${count.toLocaleString("en")} shown`;
  };
  kind.addEventListener("change", filter);
  symptom.addEventListener("change", filter);
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  filter();
  // j and k go through the errors that are shown; letters typed into a list choose from it.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select")) return;
    const step = event.key === "j" ? 1 : event.key === "k" ? -1 : 0;
    const visible = errors.filter((one) => !one.hidden);
    if (!step || !visible.length) return;
    const at = visible.indexOf(document.activeElement);
    const next = at < 0 ? (step > 0 ? 0 : visible.length - 1) : Math.min(visible.length - 1, Math.max(0, at + step));
    visible[next].focus();
  });
})();
