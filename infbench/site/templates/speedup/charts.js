/* The charts of the speedup page: SVG, drawn from what they are given. They compute positions, and nothing else.
   Text goes in as text nodes only, so that no result can inject markup. */
"use strict";

const charts = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const LINE = 15;

  const ruler = document.createElement("canvas").getContext("2d");
  /* The width of the widest text, in pixels. */
  function widest(texts, size = 11.5) {
    ruler.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
    return Math.max(0, ...texts.map((text) => ruler.measureText(text).width));
  }

  function node(namespace, tag, attributes, children) {
    const element = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }
  const svg = (tag, attributes, ...children) => node(SVG, tag, attributes, children);
  const html = (tag, attributes, ...children) => node(null, tag, attributes, children);

  /* Round numbers from 0 to at least `most`, about `wanted` of them. */
  function ticks(most, wanted) {
    const rough = most / wanted;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
    const found = [];
    for (let i = 0; i === 0 || found[i - 1] < most; i++) found.push(Number((i * step).toPrecision(12)));
    return found;
  }

  const SHAPES = {
    circle: (x, y, size = 4) => svg("circle", { cx: x, cy: y, r: size }),
    square: (x, y, size = 4) => svg("rect", { x: x - size * 0.95, y: y - size * 0.95, width: size * 1.9, height: size * 1.9 }),
    diamond: (x, y, size = 4) => {
      const r = size * 1.35;
      return svg("path", { d: `M${x} ${y - r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z` });
    },
  };

  /* Lets the pointer or the arrow keys step through the points and read them. `stops` are {x, text}, from left to right. */
  function readable(figure, chart, top, bottom, stops) {
    const readout = html("p", { class: "readout", "aria-live": "polite" }, "Point at the chart, or step through it with the arrow keys, to read its values.");
    chart.setAttribute("tabindex", 0);
    const cursor = svg("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
    chart.prepend(cursor);
    let at = -1;
    const move = (next) => {
      if (!stops.length || next === at) return;
      at = Math.max(0, Math.min(stops.length - 1, next));
      cursor.setAttribute("x1", stops[at].x);
      cursor.setAttribute("x2", stops[at].x);
      cursor.setAttribute("visibility", "visible");
      readout.textContent = stops[at].text;
    };
    chart.addEventListener("pointermove", (event) => {
      const x = event.clientX - chart.getBoundingClientRect().left;
      const apart = stops.map((stop) => Math.abs(stop.x - x));
      move(apart.indexOf(Math.min(...apart)));
    });
    chart.addEventListener("focus", () => move(at < 0 ? stops.length - 1 : at));
    chart.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: stops.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      move(to);
    });
    figure.append(readout);
  }

  function frame(figure, label, width, height) {
    const chart = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    figure.append(chart);
    return chart;
  }

  function legend(entries) {
    const items = entries.map((entry) => {
      const sample = svg("svg", { width: 34, height: 14, "aria-hidden": "true", class: entry.class });
      if (entry.band) sample.append(svg("rect", { x: 2, y: 2, width: 30, height: 10, class: "band" }));
      else sample.append(svg("path", { class: "line", d: "M2 7H32" }));
      if (entry.shape) sample.append(svg("g", { class: "mark" }, SHAPES[entry.shape](17, 7)));
      return html("li", {}, sample, entry.name);
    });
    return html("ul", { class: "legend" }, items);
  }

  /* Lines over places from left to right.
     places: {at, rows: [text], short: [text]} each; heads: the names of the rows of labels; series: {name, class,
     shape, points: [[value, low, high, hollow] or null]} each; curves: {name, class, points: [[at, value, low, high]]};
     band: [[low, high] or null]; rule: {value, text}; ideal: whether to draw value = at. */
  function lines(figure, spec) {
    const { width, places, heads, format } = spec;
    const curves = spec.curves || [];
    const band = spec.band || [];
    const every = [
      ...spec.series.flatMap((one) => one.points.flatMap((point) => point || [])),
      ...curves.flatMap((one) => one.points.flatMap((point) => point.slice(1))),
      ...band.flatMap((bounds) => bounds || []),
      ...(spec.rule ? [spec.rule.value * 1.1] : []),
      ...(spec.ideal ? places.map((place) => place.at) : []),
    ].filter((value) => typeof value === "number");
    const marks = ticks(Math.max(...every, 1e-9) * 1.04, 5);
    const most = marks[marks.length - 1];
    const left = widest([...marks.map(format), ...heads]) + 14;
    const [right, top] = [18, 26];
    const height = spec.height + heads.length * LINE + 14;
    const bottom = top + spec.height - 26;
    const first = Math.min(...places.map((place) => place.at));
    const span = Math.max(...places.map((place) => place.at)) - first;
    const label = widest(places.flatMap((place) => place.short || place.rows)) / 2;
    const inset = Math.min(34, Math.max(label, (width - left - right) / (2 * places.length)));
    const x = (at) => left + inset + (span ? (at - first) / span : 0.5) * (width - left - right - 2 * inset);
    const y = (value) => bottom - (value / most) * (bottom - top);
    const chart = frame(figure, spec.label, width, height);

    for (const mark of marks) {
      chart.append(svg("path", { class: "grid", d: `M${left} ${y(mark)}H${width - right}` }));
      chart.append(svg("text", { class: "tick y", x: left - 8, y: y(mark) + 4, "text-anchor": "end" }, format(mark)));
    }
    chart.append(svg("text", { class: "axis", x: left, y: 12 }, spec.title));

    // Labels that would run into each other are shortened, and then thinned out.
    const slot = places.length > 1 ? (width - left - right - 2 * inset) / (places.length - 1) : width;
    const needed = (key) => widest(places.flatMap((place) => place[key] || place.rows)) + 4;
    const key = needed("rows") <= slot ? "rows" : "short";
    const each = Math.max(1, Math.ceil(needed(key) / slot));
    const dense = slot < 16;
    heads.forEach((head, row) => {
      const line = bottom + 21 + row * LINE;
      chart.append(svg("text", { class: "tick head", x: left - 8, y: line, "text-anchor": "end" }, head));
      places.forEach((place, i) => {
        if ((places.length - 1 - i) % each) return;
        chart.append(svg("text", { class: "tick x", x: x(place.at), y: line, "text-anchor": "middle" }, (place[key] || place.rows)[row]));
      });
    });

    const half = places.length > 1 ? Math.min(slot / 2, 30) : 30;
    places.forEach((place, i) => {
      if (!band[i]) return;
      const [low, high] = band[i];
      chart.append(svg("rect", { class: "band", x: x(place.at) - half, width: 2 * half, y: y(high), height: Math.max(1, y(low) - y(high)) }));
    });
    if (spec.rule) {
      chart.append(svg("path", { class: "rule", d: `M${left} ${y(spec.rule.value)}H${width - right}` }));
    }
    if (spec.ideal) {
      chart.append(svg("path", { class: "ideal", d: `M${x(first)} ${y(first)}L${x(first + span)} ${y(first + span)}` }));
    }
    for (const curve of curves) {
      const upper = curve.points.map(([at, , , high]) => `${x(at)} ${y(high)}`);
      const lower = curve.points.map(([at, , low]) => `${x(at)} ${y(low)}`).reverse();
      const middle = curve.points.map(([at, value]) => `${x(at)} ${y(value)}`);
      chart.append(svg("path", { class: `${curve.class} area`, d: `M${upper.join("L")}L${lower.join("L")}Z` }));
      chart.append(svg("g", { class: curve.class }, svg("path", { class: "line", d: `M${middle.join("L")}` })));
    }
    spec.series.forEach((one, position) => {
      // Several series at one place stand side by side; otherwise their intervals would hide each other.
      const shift = spec.series.length > 1 ? (position - (spec.series.length - 1) / 2) * (dense ? 0 : 7) : 0;
      const group = svg("g", { class: `series ${one.class}` });
      let path = "";
      one.points.forEach((point, i) => {
        path += point ? `${path && one.points[i - 1] ? "L" : "M"}${x(places[i].at) + shift} ${y(point[0])}` : "";
      });
      group.append(svg("path", { class: "line", d: path || "M0 0" }));
      one.points.forEach((point, i) => {
        if (!point) return;
        const [value, low, high, hollow] = point;
        const at = x(places[i].at) + shift;
        const mark = svg("g", { class: hollow ? "mark hollow" : "mark" });
        const cap = dense ? 0 : 3;
        if (low !== null) mark.append(svg("path", { class: "whisker", d: `M${at - cap} ${y(low)}h${2 * cap}m${-cap} 0V${y(high)}m${-cap} 0h${2 * cap}` }));
        mark.append(SHAPES[one.shape](at, y(value), dense ? 2 : 4));
        group.append(mark);
      });
      chart.append(group);
    });
    readable(figure, chart, top, bottom, places.map((place, i) => ({ x: x(place.at), text: spec.read(i) })));
  }

  /* One line for each name, with a point and its interval. rows: {name, value, low, high, hollow} each; band: [low,
     high] or null, over all of them; rule: a value. */
  function dots(figure, spec) {
    const { width, rows, format } = spec;
    const known = [...rows.flatMap((row) => [row.value, row.high]), ...(spec.band || []), spec.rule];
    const marks = ticks(Math.max(...known.filter((value) => typeof value === "number")) * 1.02, width < 480 ? 4 : 6);
    const most = marks[marks.length - 1];
    const left = Math.min(widest(rows.map((row) => row.name), 13) + 14, width * 0.4);
    const [right, top, pitch] = [24, 30, 30];
    const bottom = top + rows.length * pitch;
    const x = (value) => left + (value / most) * (width - left - right);
    const chart = frame(figure, spec.label, width, bottom + 26);
    chart.append(svg("text", { class: "axis", x: left, y: 14 }, spec.title));
    for (const mark of marks) {
      chart.append(svg("path", { class: "grid", d: `M${x(mark)} ${top}V${bottom}` }));
      chart.append(svg("text", { class: "tick x", x: x(mark), y: bottom + 18, "text-anchor": "middle" }, format(mark)));
    }
    if (spec.band) {
      chart.append(svg("rect", { class: "band", x: x(spec.band[0]), width: x(spec.band[1]) - x(spec.band[0]), y: top, height: bottom - top }));
    }
    chart.append(svg("path", { class: "rule", d: `M${x(spec.rule)} ${top}V${bottom}` }));
    rows.forEach((row, i) => {
      const y = top + (i + 0.5) * pitch;
      chart.append(svg("text", { class: "name", x: left - 10, y: y + 4, "text-anchor": "end" }, row.name));
      if (row.value === null) return;
      const mark = svg("g", { class: row.hollow ? "mark hollow" : "mark" });
      if (row.low !== null) mark.append(svg("path", { class: "whisker", d: `M${x(row.low)} ${y - 4}v8m0 -4H${x(row.high)}m0 -4v8` }));
      mark.append(SHAPES.circle(x(row.value), y));
      chart.append(svg("g", { class: "series parallel" }, mark));
    });
  }

  /* A cell for each pair of sizes. columns, rows: sizes, ascending; cells: {row, column, share, lines, judged, wins} each. */
  function map(figure, spec) {
    const { width, columns, rows } = spec;
    const left = widest([...rows, spec.rowTitle]) + 16;
    const [right, top] = [6, 44];
    const [wide, tall] = [Math.min(110, (width - left - right) / columns.length), 46];
    const chart = frame(figure, spec.label, width, top + rows.length * tall + 8);
    chart.append(svg("text", { class: "axis", x: left, y: 14 }, spec.columnTitle));
    chart.append(svg("text", { class: "axis", x: left - 8, y: 34, "text-anchor": "end" }, spec.rowTitle));
    columns.forEach((column, i) => {
      chart.append(svg("text", { class: "tick x", x: left + (i + 0.5) * wide, y: 34, "text-anchor": "middle" }, column));
    });
    const of = (row, column) => spec.cells.find((cell) => cell.row === row && cell.column === column);
    const edges = [];
    const parts = (one, other) => other && one.judged && other.judged && one.wins !== other.wins;
    rows.forEach((name, row) => {
      chart.append(svg("text", { class: "tick y", x: left - 8, y: top + (row + 0.5) * tall + 4, "text-anchor": "end" }, name));
      columns.forEach((_, column) => {
        const cell = of(row, column);
        const [x, y] = [left + column * wide, top + row * tall];
        const box = svg("rect", { class: cell ? "cell" : "cell none", x: x + 1.5, y: y + 1.5, width: wide - 3, height: tall - 3, rx: 2 });
        chart.append(box);
        if (!cell) return;
        box.style.setProperty("--share", `${Math.round(Math.max(0, Math.min(1, cell.share)) * 100)}%`);
        cell.lines.forEach((text, i) => {
          const line = y + tall / 2 + 4.5 + (i - (cell.lines.length - 1) / 2) * LINE;
          chart.append(svg("text", { class: i ? "cell-note" : "cell-value", x: x + wide / 2, y: line, "text-anchor": "middle" }, text));
        });
        // An edge between a size that wins and a judged one that does not.
        const [beside, below] = [of(row, column + 1), of(row + 1, column)];
        if (parts(cell, beside)) edges.push(`M${x + wide} ${y}v${tall}`);
        if (parts(cell, below)) edges.push(`M${x} ${y + tall}h${wide}`);
      });
    });
    if (edges.length) chart.append(svg("path", { class: "edge", d: edges.join("") }));
  }

  return { html, lines, dots, map, legend };
})();
