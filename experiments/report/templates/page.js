"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report-data").textContent);
  const number = new Intl.NumberFormat("en");

  // Colours are roles, as @blue: they stand in the style sheet, once for light and once for dark.
  const styles = getComputedStyle(document.documentElement);
  const colour = (role) => styles.getPropertyValue("--" + role).trim();
  const coloured = (value, key = "") => {
    if (typeof value === "string") {
      return /color$/i.test(key) && value.startsWith("@") ? colour(value.slice(1)) : value;
    }
    if (key === "colorscale" && Array.isArray(value)) return value.map(([at, role]) => [at, coloured(role, "color")]);
    if (Array.isArray(value)) return key === "shapes" || key === "annotations" ? value.map((v) => coloured(v)) : value;
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, k)]));
    }
    return value;
  };

  const layout = (chart, selects) => {
    const axis = { gridcolor: "@line", linecolor: "@soft", zeroline: false, automargin: true, ticks: "outside", tickcolor: "@line" };
    const own = chart.layout;
    return coloured({
      ...own,
      xaxis: { ...axis, ...own.xaxis, title: { ...own.xaxis.title, standoff: 8 } },
      yaxis: { ...axis, ...own.yaxis, title: { ...own.yaxis.title, standoff: 8 } },
      margin: { l: 20, r: 40, t: 24, b: 20 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: "@ink", size: 13, family: "system-ui, sans-serif" },
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, font: { size: 12 } },
      hoverlabel: { align: "left", bgcolor: "@paper", bordercolor: "@soft", font: { color: "@ink" } },
      hovermode: "closest",
      dragmode: selects ? "select" : "zoom",
    });
  };
  const show = (plot) => {
    const chart = report.charts[plot.dataset.chart];
    const selects = plot.dataset.selects !== undefined;
    const shown = layout(chart, selects);
    const buttons = selects ? [] : ["select2d", "lasso2d"];
    const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["autoScale2d", ...buttons] };
    Plotly.react(plot, chart.data.map((trace) => coloured(trace)), shown, config);
    if (selects && !plot.dataset.follows) {
      plot.dataset.follows = "yes";
      plot.on("plotly_selected", (event) => event && choose(event.points, event.range));
      plot.on("plotly_click", (event) => choose(event.points));
      plot.on("plotly_deselect", () => choose(null));
    }
  };

  // Plots are drawn as they come into view: a page of ten thousand trials opens at once.
  const drawn = new Set();
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      drawn.add(target);
      show(target);
    }
  }, { rootMargin: "300px" });
  for (const plot of document.querySelectorAll(".plot")) seen.observe(plot);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(show));

  // The trials' table: sorted by its heads, filtered by its controls and by what is selected.
  const table = document.getElementById("trials");
  let choose = () => {};
  if (table) {
    const { columns, rows } = report.trials;
    const at = (name) => columns.findIndex((column) => column.name === name);
    const state = document.getElementById("state");
    const text = document.getElementById("text");
    const clear = document.getElementById("clear");
    const more = document.getElementById("more");
    const count = document.getElementById("count");
    let chosen = null;
    let shown = report.page;
    let order = { by: at("reward"), up: false };

    const cell = (value, column) => {
      if (value === null || value === "") return "–";
      if (column.digits !== undefined) return value.toFixed(column.digits);
      return typeof value === "number" ? number.format(value) : value;
    };
    const fill = () => {
      const wanted = text.value.trim().toLowerCase();
      const kept = rows.filter((row) =>
        (!chosen || chosen.has(row[0])) &&
        (!state.value || row[at("state")] === state.value) &&
        (!wanted || row.some((value) => String(value).toLowerCase().includes(wanted))));
      const sign = order.up ? 1 : -1;
      kept.sort((a, b) => {
        const [x, y] = [a[order.by], b[order.by]];
        if (x === y) return a[0] - b[0];
        if (x === null || y === null) return x === null ? 1 : -1;  // what is missing comes last
        return (x < y ? -1 : 1) * sign;
      });
      table.tBodies[0].replaceChildren(...kept.slice(0, shown).map((row) => {
        const line = document.createElement("tr");
        line.append(...columns.map((column, i) => {
          const td = document.createElement("td");
          td.textContent = cell(row[i], column);
          if (column.right) td.className = "right";
          return td;
        }));
        return line;
      }));
      [...table.tHead.rows[0].cells].forEach((head, i) => {
        head.setAttribute("aria-sort", i === order.by ? (order.up ? "ascending" : "descending") : "none");
      });
      clear.disabled = !chosen;
      more.hidden = kept.length <= shown;
      const selected = chosen ? ", selected on the plot" : "";
      count.textContent = `${number.format(kept.length)} of ${number.format(rows.length)} trials${selected}; ` +
        `${number.format(Math.min(shown, kept.length))} shown.`;
    };
    choose = (points, range) => {
      const numbers = (points || []).map((point) => point.customdata).filter((n) => n !== undefined);
      chosen = numbers.length ? new Set(numbers) : null;
      const [x, y] = [at(report.trials.place[0]), at(report.trials.place[1])];
      if (chosen && range && x >= 0) {  // those too that are not drawn, where a plot is thinned
        const within = (value, [a, b]) => value !== null && value >= Math.min(a, b) && value <= Math.max(a, b);
        for (const row of rows) {
          if (within(row[x], range.x) && within(row[y], range.y)) chosen.add(row[0]);
        }
      }
      shown = report.page;
      fill();
    };
    const heads = document.createElement("tr");
    columns.forEach((column, i) => {
      const head = document.createElement("th");
      const button = document.createElement("button");
      head.scope = "col";
      if (column.right) head.className = "right";
      button.textContent = column.head;
      button.addEventListener("click", () => {
        order = { by: i, up: order.by === i ? !order.up : !column.right };
        fill();
      });
      head.append(button);
      heads.append(head);
    });
    table.tHead.append(heads);
    state.addEventListener("change", fill);
    text.addEventListener("input", fill);
    more.addEventListener("click", () => { shown *= 4; fill(); });
    clear.addEventListener("click", () => {
      choose(null);
      for (const plot of drawn) {
        if (plot.dataset.selects !== undefined) Plotly.restyle(plot, { selectedpoints: null });
      }
    });
    fill();
  }

  if (report.reload) setTimeout(() => location.reload(), 1000 * report.reload);
})();
