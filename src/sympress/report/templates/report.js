"use strict";
(() => {
  // Sorting: numbers by their value, the rest by its text; cells without a number stay last.
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") !== "descending" && column > 0 ||
        head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0], sign = descending ? -1 : 1;
      const numbers = [...body.rows].some((row) => row.cells[column].dataset.key);
      const value = (row) => row.cells[column].dataset.key;
      const compare = (a, b) => numbers
        ? (value(a) === "") - (value(b) === "") || sign * (parseFloat(value(a)) - parseFloat(value(b))) || 0
        : sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
      body.append(...[...body.rows].sort(compare));
    }));
  }
  if (typeof Bokeh === "undefined") return;
  Bokeh.set_log_level("error");
  const dark = matchMedia("screen and (prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const models = () => Bokeh.documents.flatMap((one) => one.roots().flatMap((root) => [...root.references()]));
  // Figures carry no colours of text and lines: those are the page's, also on paper.
  const dress = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [ink, soft, faint, line, paper] = ["--ink", "--soft", "--faint", "--line", "--paper"].map(colour);
    for (const model of models()) {
      if (model.type.endsWith("Axis")) {
        model.setv({axis_label_text_color: soft, major_label_text_color: soft, axis_line_color: line, major_tick_line_color: line});
      } else if (model.type === "Grid") {
        model.setv({grid_line_color: model.dimension === 1 ? line : null});
      } else if (model.type === "GlyphRenderer") {
        const {glyph, tags} = model;
        if (tags.includes("name")) {
          const side = narrow.matches ? "narrow" : "wide";
          model.visible = !(narrow.matches && tags.includes("soft"));
          glyph.setv({
            text_color: {value: tags.includes("soft") ? faint : ink},
            background_fill_color: {value: paper}, background_fill_alpha: {value: 0.75},
            x_offset: {field: `${side}_dx`}, y_offset: {field: `${side}_dy`}, text_align: {field: `${side}_align`},
          });
        } else if (tags.includes("soft")) {
          glyph.setv({line_color: {value: faint}});
        }
      }
    }
  };
  const items = [...document.querySelectorAll("script.figure")].map((node) => JSON.parse(node.textContent));
  Promise.all(items.map((item) => Bokeh.embed.embed_item(item))).then(() => {
    dress();
    dark.addEventListener("change", dress);
    narrow.addEventListener("change", dress);
    document.documentElement.dataset.drawn = String(items.length);
  });
})();
