/* The speedup page: what is chosen, and which of the prepared figures and sentences belong to it. All statistics, and all
   conclusions, come from Python: see infbench/site/page.py. */
"use strict";

(() => {
  const { html } = charts;
  const catalog = JSON.parse(document.getElementById("catalog").textContent);
  const project = document.querySelector("nav strong").textContent;
  const body = (section) => document.querySelector(`#${section} .body`);
  const SHOWN = { changes: "all changes", worse: "worse", better: "better", inconclusive: "inconclusive" };
  const MANY = 50;

  // Numbers as people read them.
  const count = (value) => Number(value).toLocaleString("en-US");
  const decimals = (value) => (value < 0.0995 ? value.toPrecision(2) : value.toFixed(2)); // as `ratio` in words.py does
  const ratio = (value) => (value === null ? "–" : decimals(value));
  const share = (value) => (value === null ? "–" : `${Math.round(value * 100)}%`);
  const range = (low, high) => (low === null ? "unknown" : `${decimals(low)} to ${decimals(high)}`);
  const middle = (figure) => (figure ? figure[0] : null); // a figure is [value, low, high], or null if it was not measured
  const interval = (figure) => (figure ? range(figure[1], figure[2]) : "–");
  const digits = (value) => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
  const duration = (value) => {
    if (value === null) return "–";
    const [scale, unit] = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]].find(([size]) => value >= 0.9995 * size) || [1e-6, "µs"];
    return `${digits(value / scale)} ${unit}`;
  };
  const bytes = (value) => (value === null ? "–" : `${digits(value / 1e6)} MB`);
  const shortHash = (commit) => catalog.commits[commit].hash.slice(0, 8);
  const who = ({ runner, processes }) => `${runner} (n_processes=${processes})`;
  const rowsOf = (value) => `${count(value)} ${Number(value) === 1 ? "row" : "rows"}`;
  const day = (date) => new Date(date).toISOString().slice(0, 10);

  /* ---- Parts: scripts that hand over their data, as a page that is opened as a file may not fetch. They refer to the
     catalog by position, so a part of another edition of the page, published since, would be misread. ---- */
  const { edition } = document.getElementById("catalog").dataset;
  const parts = new Map();
  const waiting = new Map();
  window.infbenchPart = (name, ofEdition, content) => {
    if (ofEdition === edition) parts.set(name, content);
    waiting.get(name)();
  };
  function load(name) {
    if (parts.has(name)) return Promise.resolve(parts.get(name));
    return new Promise((resolve, reject) => {
      waiting.set(name, () => (parts.has(name) ? resolve(parts.get(name)) : reject(new Error("this page was published anew, reload it"))));
      const script = html("script", { src: `data/${name}.js?${edition}` });
      script.addEventListener("error", () => reject(new Error(`data/${name}.js is missing`)));
      document.head.append(script);
    });
  }

  /* ---- What is chosen: kept in the fragment of the address, so that a finding can be linked to. ---- */
  const KEYS = ["machine", "model", "rows", "batch", "runner", "processes", "libraries", "show", "of"];
  const FIGURES = ["runner", "processes", "batch", "rows"]; // in the order in which they are kept if not all can be
  const chosen = {};
  const fragment = (changes) => {
    const choice = { ...chosen, ...changes };
    return `#${new URLSearchParams(KEYS.filter((key) => choice[key] !== undefined).map((key) => [key, choice[key]]))}`;
  };
  const wanted = () => Object.fromEntries([...new URLSearchParams(location.hash.slice(1))].filter(([key]) => KEYS.includes(key)));
  const at = (entry) => Object.fromEntries(FIGURES.map((key) => [key, String(entry[key])]));
  const fits = (entry, keys) => keys.every((key) => String(entry[key]) === chosen[key]);
  const setOf = () => catalog.sets.findIndex((set) => set.label === chosen.libraries);

  /* The combination that agrees best with what is wanted; an earlier key weighs more than all later ones together. */
  function closest(combinations, keys, want, usual) {
    const agreement = (entry) => [want, usual].flatMap((choice) => keys.map((key) => Number(String(entry[key]) === choice[key])));
    const better = (a, b) => {
      const i = a.findIndex((value, position) => value !== b[position]);
      return i >= 0 && a[i] > b[i];
    };
    return combinations.reduce((best, entry) => (better(agreement(entry), agreement(best)) ? entry : best));
  }

  let render = 0;
  let goTo = null; // the section that a link leads to, once it shows what was chosen
  async function show(changed) {
    const want = wanted();
    if (chosen.model && location.hash.length > 1 && !Object.keys(want).length) return; // it names a place on the page
    const notes = [];
    const turn = ++render;
    const pick = (entries, key, fallback, what) => {
      const found = entries.find((entry) => entry[key] === want[what]);
      if (!found && want[what] !== undefined) notes.push(`There is no ${what === "libraries" ? "release set" : what} “${want[what]}” here.`);
      return found || fallback;
    };
    // Old links may have only the name, from before the machine was measured with other CPUs.
    const namesake = catalog.computers.filter((one) => one.name.startsWith(`${want.machine} (`)).pop();
    const computer = pick(catalog.computers, "name", namesake || catalog.computers[0], "machine");
    const model = pick(computer.models, "name", computer.models[0], "model");
    const overview = computer.overview[computer.models.indexOf(model)];
    let data, changes;
    try {
      [data, changes] = await Promise.all([load(model.part), load(computer.changes)]);
    } catch (error) {
      if (turn !== render) return;
      document.getElementById("status").textContent = `The data could not be loaded: ${error.message}.`;
      return;
    }
    if (turn !== render) return; // something else was chosen meanwhile
    const usual = at(overview);
    const first = [changed, ...FIGURES].filter((key, i, all) => FIGURES.includes(key) && all.indexOf(key) === i);
    const closestOne = closest(data.combinations, first, want, usual);
    const entry = { ...closestOne, history: closestOne.history.map(run) };
    const lost = FIGURES.filter((key) => want[key] !== undefined && String(entry[key]) !== want[key]);
    if (lost.length) {
      notes.push(`Not measured together: ${FIGURES.filter((key) => want[key] !== undefined).map((key) => `${key} ${want[key]}`).join(", ")}. Shown instead: ${FIGURES.map((key) => `${key} ${entry[key]}`).join(", ")}.`);
    }
    const sets = [...new Set(data.combinations.flatMap((one) => one.history.map(([set]) => set)))].sort((a, b) => a - b);
    const names = sets.map((set) => ({ name: catalog.sets[set].label }));
    // Old links may have a shorter label, from before another release set had the same scikit-learn.
    const alike = names.filter((one) => one.name.split(", ")[0] === (want.libraries || "").split(", ")[0]).pop();
    const libraries = pick(names, "name", alike || { name: catalog.sets[overview.set].label }, "libraries").name;
    const shown = Object.hasOwn(SHOWN, want.show) ? want.show : "changes";
    const of = computer.models.some((one) => one.name === want.of) ? want.of : undefined;
    Object.assign(chosen, at(entry), { machine: computer.name, model: model.name, libraries, show: shown, of });
    document.getElementById("status").textContent = notes.join(" ");
    selectors(computer, data, names);
    const view = { computer, model, data, entry, changes, set: setOf(), overview };
    view.verdict = data.verdicts.find((one) => one.set === view.set && fits(one, ["batch", "runner", "processes"]));
    view.runners = data.runners.find((one) => one.set === view.set && fits(one, ["rows", "batch", "processes"]));
    draw = () => {
      const active = document.activeElement;
      const section = active.closest("section");
      const position = section ? [...section.querySelectorAll(FOCUSABLE)].indexOf(active) : -1;
      [verdict, releases, scaling, batches, runners, commits, whatChanged].forEach((one) => one(view));
      const anew = position < 0 ? null : section.querySelectorAll(FOCUSABLE)[position]; // what had the focus is gone
      if (anew) anew.focus({ preventScroll: true });
    };
    draw();
    document.title = `${model.name}, ${entry.runner} – ${project}`;
    if (changed) history.replaceState(null, "", fragment({})); // including what had to be adjusted to the choice
    if (goTo) document.getElementById(goTo).focus();
    goTo = null;
    document.body.dataset.ready = location.hash || "#";
  }

  const FOCUSABLE = "a, button, select, [tabindex]";
  let draw = () => {};
  let lastWidth = 0;
  new ResizeObserver(() => {
    if (document.body.clientWidth === lastWidth) return;
    lastWidth = document.body.clientWidth;
    draw();
  }).observe(document.body);

  /* A link to a choice, which leads to the section that shows it. */
  function link(choice, section, text) {
    const element = html("a", { href: `#${new URLSearchParams(choice)}` }, text);
    element.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // it opens elsewhere
      goTo = section;
      if (element.hash === location.hash) show();
    });
    return element;
  }
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address holds what is chosen
    document.getElementById("verdict").focus();
  });

  function choose(key, value) {
    history.pushState(null, "", fragment({ [key]: value }));
    show(key);
  }
  window.addEventListener("popstate", () => show());
  window.addEventListener("hashchange", () => show());

  function selectors(computer, data, libraries) {
    const form = document.getElementById("choice");
    const distinct = (key) => [...new Set(data.combinations.map((entry) => entry[key]))].sort((a, b) => (typeof a === "number" ? a - b : a < b ? -1 : 1));
    const sized = (key) => distinct(key).map((value) => [String(value), count(value)]);
    const named = (values) => values.map((value) => [value, value]);
    const fields = [
      ["machine", "Machine", named(catalog.computers.map((one) => one.name))],
      ["model", "Model", named(computer.models.map((one) => one.name))],
      ["rows", "Rows", sized("rows")],
      ["batch", "Rows in a batch", sized("batch")],
      ["runner", "Runner", named(distinct("runner"))],
      ["processes", "Processes", sized("processes")],
      ["libraries", "Libraries (scikit-learn)", named(libraries.map((one) => one.name))],
    ];
    for (const [key, label, options] of fields) {
      let select = document.getElementById(`choice-${key}`);
      if (!select) {
        select = html("select", { id: `choice-${key}`, name: key });
        select.addEventListener("change", () => choose(key, select.value));
        form.append(html("label", { for: select.id }, html("span", {}, label), select));
      }
      select.replaceChildren(...options.map(([value, text]) => html("option", { value }, text)));
      select.value = chosen[key];
    }
  }

  /* ---- Pieces of every section ---- */
  const sentence = (text) => (text ? html("p", { class: "sentence" }, text) : null);

  /* columns: [name, whether it holds numbers]; rows: lists of texts or elements; marked: the position of the chosen row. */
  function table(caption, columns, rows, marked) {
    const head = html("tr", {}, columns.map(([name, number]) => html("th", { scope: "col", class: number ? "number" : null }, name)));
    const lines = rows.map((cells, line) =>
      html("tr", { class: line === marked ? "chosen" : null, "aria-current": line === marked ? "true" : null }, cells.map((cell, i) =>
        html(i ? "td" : "th", { scope: i ? null : "row", class: columns[i][1] ? "number" : null }, cell))));
    return html("div", {}, html("p", { class: "caption" }, caption),
      html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
        html("table", { "aria-label": caption }, html("thead", {}, head), html("tbody", {}, lines))));
  }

  /* A section's sentence, then its charts beside its table, or above a wide one. `plots` get a figure and its width. */
  function fill(section, say, plots, tables, notes, layout = "pair") {
    const target = body(section);
    const frames = plots.map(() => html("figure", {}));
    target.replaceChildren(
      ...[sentence(say)].filter(Boolean),
      html("div", { class: plots.length ? layout : "alone" },
        plots.length ? html("div", { class: "plots" }, frames) : null,
        html("div", { class: "tables" }, tables)),
      ...(notes ? [html("p", { class: "note" }, notes)] : []),
    );
    plots.forEach((plot, i) => plot(frames[i], Math.max(260, frames[i].clientWidth)));
  }

  /* A run of the history, which comes as a list. */
  const run = ([set, commit, serial, parallel, speedup, noise, paired]) => ({ set, commit, serial, parallel, speedup, noise, paired });
  const gain = ({ speedup, paired }) => speedup && [...speedup, !paired];
  const band = ({ noise }) => (noise && noise[1] !== null ? noise.slice(1) : null);
  const figures = (row) => [
    duration(middle(row.serial)), duration(middle(row.parallel)), ratio(middle(row.speedup)), interval(row.speedup),
    share(row.speedup && row.speedup[0] / Number(chosen.processes)), band(row) ? range(...band(row)) : "–",
  ];
  const FIGURE_COLUMNS = [["Serial", true], ["Parallel", true], ["Speedup", true], ["99 % interval", true], ["Efficiency", true], ["Noise floor", true]];
  const told = (row) => `one process ${duration(middle(row.serial))}, ${chosen.runner} ${duration(middle(row.parallel))}, speedup ${row.speedup ? `${ratio(middle(row.speedup))} (${interval(row.speedup)})` : "–"}`;
  const workload = () => `${chosen.model}, ${rowsOf(chosen.rows)} in batches of ${count(chosen.batch)}, ${who(chosen)}`;

  /* Times above, speedup below: the two charts that releases and commits share, if they have something to show. */
  function timeline(by, rows, places, heads, read) {
    const times = (figure, width) => {
      const series = [
        { name: "one process", class: "serial", shape: "square", points: rows.map((row) => row.serial) },
        { name: who(chosen), class: "parallel", shape: "circle", points: rows.map((row) => row.parallel) },
      ];
      figure.append(charts.legend(series));
      charts.lines(figure, { width, height: 210, places, heads, series, read, title: "Time for all rows", label: `Serial and parallel time by ${by}, ${workload()}. The table has the same figures.`, format: axisDuration(rows) });
    };
    const gains = (figure, width) => {
      const series = [{ name: "speedup", class: "speedup", shape: "diamond", points: rows.map(gain) }];
      const floor = rows.some(band) ? [{ name: "noise floor: serial against serial", class: "noise", band: true }] : [];
      figure.append(charts.legend([...series, ...floor]));
      charts.lines(figure, { width, height: 190, places, heads, series, read, band: rows.map(band), rule: { value: 1 }, title: "Speedup", label: `Speedup by ${by}, ${workload()}. The table has the same figures.`, format: short });
    };
    return [...(rows.some(isTimed) ? [times] : []), ...(rows.some(gain) ? [gains] : [])];
  }
  const isTimed = ({ serial, parallel }) => serial || parallel;
  const untimed = (rows) => (rows.some(isTimed) ? "" : "Only the speedup of this workload is measured, no times. ");
  const short = (value) => String(Number(value.toFixed(2)));
  /* One unit for a whole axis. */
  function axisDuration(rows) {
    const most = Math.max(...rows.flatMap((row) => [middle(row.serial), middle(row.parallel)]), 0);
    const [scale, unit] = most >= 1 ? [1, "s"] : most >= 1e-3 ? [1e-3, "ms"] : [1e-6, "µs"];
    return (value) => `${short(value / scale)} ${unit}`;
  }
  const version = (set, library) => catalog.sets[set].versions[library] || "–";
  const brief = (text) => text.split(".").slice(0, 2).join(".");

  /* ---- The sections ---- */
  function verdict({ computer, verdict: found, overview }) {
    const MARKS = { "It pays": "✓", "It does not pay": "✗" };
    const answer = found ? found.answer : "Not measured";
    const mark = MARKS[answer] || "~";
    const rows = computer.overview.map((one) => [
      link({ machine: computer.name, model: one.model, ...at(one), libraries: catalog.sets[one.set].label, show: chosen.show }, "verdict", one.model),
      `${MARKS[one.answer] || "~"} ${one.answer || "Not measured"}`,
      one.start ? `${one.start === one.fewest ? "≤ " : ""}${count(one.start)}` : "–",
      ratio(middle(one.speedup)),
      interval(one.speedup),
      one.efficiency ? share(one.efficiency) : "–",
      one.runner,
      catalog.sets[one.set].label,
    ]);
    body("verdict").replaceChildren(
      html("p", { class: "answer" }, html("span", { "aria-hidden": "true", class: `sign sign-${{ "✓": "good", "✗": "bad" }[mark] || "open"}` }, mark), `${answer}: ${chosen.model} on ${computer.name}, scikit-learn ${chosen.libraries}`),
      html("p", { class: "sentence" }, found ? found.text : `${workload()} was not measured with scikit-learn ${chosen.libraries}.`),
      ...[found && found.of_rows[chosen.rows], found && found.since].map(sentence).filter(Boolean),
      html("p", { class: "note" }, `${computer.name}: ${computer.facts}.`),
      table(`Every model on ${computer.name}, newest release set; ≤: pays even with the fewest rows that were measured`, [["Model"], ["Verdict"], ["Pays from rows", true], ["Speedup", true], ["99 % interval", true], ["Efficiency", true], ["Runner"], ["scikit-learn", true]], rows, computer.models.findIndex((one) => one.name === chosen.model)),
    );
  }

  function releases({ entry, set }) {
    const rows = entry.releases.map((position) => entry.history[position]);
    const alike = rows.every((row) => row.commit === rows[0].commit);
    const libraries = ["scikit-learn", "numpy", "joblib"];
    const places = rows.map((row, i) => {
      const versions = libraries.map((library) => version(row.set, library));
      return { at: i, rows: versions, short: versions.map(brief) };
    });
    const read = (i) => `${libraries.map((library) => `${library} ${version(rows[i].set, library)}`).join(", ")}: ${told(rows[i])}`;
    const columns = [["scikit-learn"], ["numpy", true], ["joblib", true], ...FIGURE_COLUMNS, ...(alike ? [] : [["Commit"]])];
    const lines = rows.map((row) => [
      catalog.sets[row.set].label, version(row.set, "numpy"), version(row.set, "joblib"), ...figures(row),
      ...(alike ? [] : [shortHash(row.commit)]),
    ]);
    const same = `All at commit ${shortHash(rows[0].commit)} of this project.`;
    const compared = rows.find((row) => row.set === set);
    const newest = compared && entry.history.filter((row) => row.set === set && row.paired >= compared.paired).pop();
    const newer = compared && newest.commit !== compared.commit ? ` The verdict above is of commit ${shortHash(newest.commit)}, measured with scikit-learn ${chosen.libraries} since.` : "";
    fill("releases", entry.say_releases, timeline("library release", rows, places, libraries, read),
      [table(`By library release: ${workload()}`, columns, lines, rows.findIndex((row) => catalog.sets[row.set].label === chosen.libraries))],
      untimed(rows) + (alike ? same : "These were not all measured at the same commit of this project; only steps between figures of the same commit are judged.") + newer);
  }

  function scaling({ data, set, overview }) {
    const ofRunner = data.scaling.filter((one) => one.set === set && one.runner === chosen.runner);
    const found = ofRunner.find((one) => fits(one, ["rows", "batch"])) || ofRunner[0];
    if (!found) {
      const ran = data.verdicts.some((one) => one.set === set && one.runner === chosen.runner);
      fill("scaling", `Not measured: with scikit-learn ${chosen.libraries}, ${chosen.model} and ${chosen.runner} ${ran ? "ran with one number of processes only" : "did not run"}.`, [], []);
      return;
    }
    const laws = Object.entries(found.laws);
    const ofLaw = (points, n) => points.find(([at]) => at === n)[1];
    const rows = found.points.map(([n, figure]) => [String(n), ratio(middle(figure)), interval(figure), share(middle(figure) / n),
      ...laws.map(([, points]) => `${ratio(middle(ofLaw(points, n)))} (${interval(ofLaw(points, n))})`)]);
    const plot = (figure, width) => {
      const curves = laws.map(([name, points]) => ({ name, class: `law-${name.toLowerCase()}`, points: points.map(([n, figure]) => [n, ...figure]) }));
      const series = [{ name: "measured", class: "speedup", shape: "diamond", points: found.points.map(([, figure]) => figure) }];
      figure.append(charts.legend([...series, { name: "ideal", class: "ideal-sample" }, ...curves]));
      charts.lines(figure, {
        width, height: 260, series, curves, ideal: true, heads: ["processes"], format: short, title: "Speedup",
        places: found.points.map(([n]) => ({ at: n, rows: [String(n)] })),
        read: (i) => `${found.points[i][0]} processes: speedup ${rows[i][1]} (${rows[i][2]}), efficiency ${rows[i][3]}`,
        label: `Speedup by number of processes, ${found.runner}. The table has the same figures.`,
      });
    };
    const where = `${chosen.model}, ${rowsOf(found.rows)} in batches of ${count(found.batch)}, ${found.runner}, scikit-learn ${chosen.libraries}`;
    fill("scaling", found.say, [plot],
      [table(`By number of processes: ${where}`, [["Processes", true], ["Speedup", true], ["99 % interval", true], ["Efficiency", true], ...laws.map(([name]) => [name, true])], rows, rows.findIndex((row) => row[0] === chosen.processes))],
      fits(found, ["rows", "batch"]) ? "" : `The number of processes was varied with ${rowsOf(found.rows)} in batches of ${count(found.batch)} only, not with the sizes chosen above.`);
  }

  const JUDGED = { true: "✓ wins", false: "✗ loses", null: "~ unclear" };
  function batches({ data, set }) {
    const found = data.maps.find((one) => one.set === set && fits(one, ["runner", "processes"]));
    if (!found) {
      fill("batches", `${who(chosen)} was not measured with scikit-learn ${chosen.libraries}.`, [], []);
      return;
    }
    const [rows, columns] = ["rows", "batch"].map((key) => [...new Set(found.cells.map((cell) => cell[key]))].sort((a, b) => a - b));
    const judged = ({ paired, wins }) => (paired ? JUDGED[wins] : "not in pairs");
    const plot = (figure, width) => {
      charts.map(figure, {
        width, rows: rows.map(count), columns: columns.map(count), rowTitle: "Rows", columnTitle: "Rows in a batch",
        label: `Efficiency by rows and batch size, ${chosen.model}, ${chosen.runner}. The table has the same figures.`,
        cells: found.cells.map((cell) => ({
          row: rows.indexOf(cell.rows), column: columns.indexOf(cell.batch), share: cell.efficiency, judged: cell.paired, wins: cell.wins === true,
          lines: [share(cell.efficiency), cell.paired ? judged(cell).slice(0, 1) : "°"],
        })),
      });
      figure.append(html("p", { class: "note" }, "✓ wins, ✗ loses, ~ unclear, ° not measured in pairs, empty: not measured. The thick line is the break-even: on one side several processes win, on the other they do not."));
    };
    const lines = found.cells.map((cell) => [count(cell.rows), count(cell.batch), share(cell.efficiency), ratio(middle(cell.speedup)), interval(cell.speedup), judged(cell)]);
    fill("batches", found.say, found.cells.length > 1 ? [plot] : [],
      [table(`Efficiency: ${chosen.model}, ${who(chosen)}, scikit-learn ${chosen.libraries}`,
        [["Rows", true], ["Batch", true], ["Efficiency", true], ["Speedup", true], ["99 % interval", true], ["Judged"]], lines,
        found.cells.findIndex((cell) => fits(cell, ["rows", "batch"])))]);
  }

  function runners({ data, set, runners: found, entry }) {
    if (!found) {
      fill("runners", `No runner was measured on this workload with scikit-learn ${chosen.libraries}.`, [], []);
      return;
    }
    const others = found.runners.filter((row) => row.speedup);
    const newest = entry.history.filter((row) => row.set === set).pop();
    const floor = newest && band(newest);
    const plot = (figure, width) => {
      figure.append(charts.legend([{ name: "speedup", class: "parallel", shape: "circle" }, ...(floor ? [{ name: "noise floor", class: "noise", band: true }] : [])]));
      charts.dots(figure, {
        width, format: short, title: "Speedup, against one process", rule: 1, band: floor,
        label: `Speedup by runner, ${workload()}. The table has the same figures.`,
        rows: others.map(({ runner, speedup: [value, low, high], paired }) => ({ name: runner, value, low, high, hollow: !paired })),
      });
    };
    const lines = found.runners.map((row) => [row.runner, duration(middle(row.time)), ratio(middle(row.speedup)), interval(row.speedup), share(row.efficiency), duration(middle(row.per_call)), duration(middle(row.start_up)), bytes(middle(row.memory))]);
    fill("runners", found.say, [plot],
      [table(`By runner: ${chosen.model}, ${rowsOf(chosen.rows)} in batches of ${count(chosen.batch)}, scikit-learn ${chosen.libraries}`,
        [["Runner"], ["Time", true], ["Speedup", true], ["99 % interval", true], ["Efficiency", true], ["Per call", true], ["Start-up", true], ["Memory", true]], lines,
        found.runners.findIndex((row) => row.runner === chosen.runner))], `${data.notes[set]} A dash means: not measured.`);
  }

  function commits({ entry, set }) {
    const rows = entry.history.filter((row) => row.set === set);
    if (!rows.length) {
      fill("commits", `${workload()} was not measured with scikit-learn ${chosen.libraries}.`, [], []);
      return;
    }
    const commit = (row) => catalog.commits[row.commit];
    const places = rows.map((row, i) => ({ at: i, rows: [shortHash(row.commit)], short: [commit(row).hash.slice(0, 6)] }));
    const read = (i) => `${shortHash(rows[i].commit)}, ${day(commit(rows[i]).date)}, ${commit(rows[i]).subject}: ${told(rows[i])}`;
    const lines = rows.map((row) => [html("code", {}, shortHash(row.commit)), day(commit(row).date), ...figures(row), html("span", { class: "subject" }, commit(row).subject)]);
    fill("commits", entry.say_commits[set], rows.length > 1 ? timeline("commit", rows, places, ["commit"], read) : [],
      [table(`By commit: ${workload()}, scikit-learn ${chosen.libraries}`, [["Commit"], ["Date"], ...FIGURE_COLUMNS, ["Subject"]], lines.reverse())], rows.length > 1 ? untimed(rows) : "", "stack");
  }

  let all = false;
  function whatChanged({ computer, changes }) {
    const entries = (chosen.show === "inconclusive" ? changes.inconclusive : changes.changes.filter((one) => chosen.show === "changes" || one.meaning === chosen.show))
      .filter((one) => !chosen.of || one.model === chosen.of);
    const choice = (key, options) => {
      const select = html("select", { id: `choice-${key}` }, options.map(([value, text]) => html("option", { value, selected: value === (chosen[key] || "") }, text)));
      select.addEventListener("change", () => choose(key, select.value));
      return select;
    };
    const [which, of] = [choice("show", Object.entries(SHOWN)), choice("of", [["", "all models"], ...computer.models.map(({ name }) => [name, name])])];
    const visible = all ? entries : entries.slice(0, MANY);
    const WORDS = { worse: "▼ worse", better: "▲ better", neither: "● neither" };
    const lines = visible.map((one) => {
      const release = one.kind === "release";
      const ends = release ? one.sets.map((set) => catalog.sets[set].label) : one.commits.map(shortHash);
      const read = one.quantity === "speedup" ? ratio : duration;
      const { runner, ...sizes } = at(one);
      const measured = runner === "serial" ? sizes : { ...sizes, runner }; // every runner shows the serial time
      const to = { machine: computer.name, model: one.model, ...measured, libraries: catalog.sets[one.sets[1]].label, show: chosen.show, ...(chosen.of ? { of: chosen.of } : {}) };
      const meaning = chosen.show === "inconclusive" ? html("span", {}, "~ inconclusive") : html("span", { class: `meaning ${one.meaning}` }, WORDS[one.meaning]);
      return [
        html("span", {}, link(to, release ? "releases" : "commits", `${one.model}: ${one.quantity}`), html("small", {}, `${runner === "serial" ? "one process" : who(one)}; ${rowsOf(one.rows)} in batches of ${count(one.batch)}`)),
        html("span", {}, meaning, html("small", {}, `${one.say}${one.reason ? `, ${one.reason}` : ""}`)),
        ratio(middle(one.size)), interval(one.size), ratio(one.noise),
        html("span", {}, `${read(one.before)} → ${read(one.after)}`),
        html("span", {}, release ? `${ends[0]} → ${ends[1]}` : html("code", {}, `${ends[0]} → ${ends[1]}`), html("small", {}, `${release ? `at commit ${shortHash(one.commits[1])}` : `${catalog.commits[one.commits[1]].subject} (scikit-learn ${catalog.sets[one.sets[1]].label})`}${one.skipped ? `; ${count(one.skipped)} between ${one.skipped === 1 ? "was" : "were"} not measured` : ""}`)),
        release ? html("ul", { class: "moved" }, one.moved.map((text) => html("li", {}, text))) : "none: the code of this project",
      ];
    });
    const more = html("button", { type: "button" }, `Show all ${count(entries.length)}`);
    more.addEventListener("click", () => { all = true; draw(); document.getElementById("changes").focus({ preventScroll: true }); });
    const cut = chosen.show === "inconclusive" && changes.n_inconclusive > changes.inconclusive.length;
    const whose = chosen.of ? ` of ${chosen.of}` : "";
    const none = chosen.show === "inconclusive"
      ? `No step${whose} is ${cut ? "among the largest that are " : ""}inconclusive.`
      : `There is nothing to show here: no such change${whose} stands out from the noise.`;
    body("changes").replaceChildren(
      sentence(changes.say),
      html("p", { class: "choices" }, [["Show ", which], ["of ", of]].map(([text, select]) => html("label", { for: select.id, class: "inline" }, text, select))),
      lines.length
        ? table(`Steps on ${computer.name}, the largest first`, [["What"], ["Change"], ["Size", true], ["99 % interval", true], ["Noise", true], ["Before → after", true], ["Step"], ["Libraries that moved"]], lines)
        : html("p", { class: "sentence" }, none),
      ...(visible.length < entries.length ? [more] : []),
      ...(cut ? [html("p", { class: "note" }, `Of the ${count(changes.n_inconclusive)} inconclusive steps of all models, the page has the ${count(changes.inconclusive.length)} largest; the raw data has all.`)] : []),
    );
  }

  document.querySelector("main").hidden = false; // without this script it is empty
  if (catalog.computers.length) {
    show();
  } else {
    document.getElementById("status").textContent = "There are no results yet: asv run makes some.";
    document.querySelectorAll("main section").forEach((section) => section.setAttribute("hidden", ""));
  }
})();
